# What a person pastes next.

locals {
  url          = aws_lambda_function_url.stream.function_url
  openai_url   = "${trimsuffix(local.url, "/")}/v1"
  model        = try(jsondecode(file("${local.model_dir}/firebrick.json")).model.id, "…")
  example_body = jsonencode({ messages = [{ role = "user", content = "What is a cold start?" }], stream = true, model = local.model })
  prices       = lookup(jsondecode(file("${local.root}/handler/prices.json")).regions, local.region, null)
  hours        = 730 # of a month
  image_gb     = sum(concat([0], [for image in data.aws_ecr_image.built : image.image_size_in_bytes / pow(10, 9)]))
  zones        = try(length(var.vpc.subnet_ids), 0)
  memory_gb    = var.memory_mb / 1024
  provisioned  = try(var.provisioned_concurrency.minimum, 0) * local.memory_gb * local.hours * 3600
  cached       = (var.snap_start ? 1 : 0) * local.memory_gb * local.hours * 3600
  idle = local.prices == null ? null : {
    "images in ECR"           = max(local.image_gb, 0) * local.prices.ecr.gb_month
    "API key"                 = local.secret_count * local.prices.secrets_manager.secret_month
    "alarms"                  = length(aws_cloudwatch_metric_alarm.all) * local.prices.cloudwatch.alarm_month
    "dashboard"               = (var.monitoring.dashboard ? 1 : 0) * local.prices.cloudwatch.dashboard_month
    "endpoints"               = length(local.services) * local.zones * local.hours * local.prices.privatelink.endpoint_zone_hour
    "provisioned concurrency" = local.provisioned * local.prices.lambda[var.architecture].provisioned_gb_second
    "SnapStart's snapshot"    = local.cached * local.prices.lambda.snap_start.cached_gb_second
  }
}

output "url" {
  description = "The function URL."
  value       = local.url
}

output "region" {
  description = "Where it all is."
  value       = local.region
}

output "functions" {
  description = "What to call with the Lambda API."
  value       = { for name in local.function_names : trimprefix(name, "${var.name}-") => "${name}:${local.alias}" }
}

output "images" {
  description = "What runs, by digest."
  value       = local.images
}

output "invoke_command" {
  description = "Ask something, from a clone of this repository."
  value       = "make invoke PROMPT='What is a cold start?'"
}

output "curl_command" {
  description = "A streamed answer by curl."
  value = var.url_auth == "AWS_IAM" ? join(" ", [
    "curl -N --aws-sigv4 aws:amz:${local.region}:lambda --user \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\"",
    "$${AWS_SESSION_TOKEN:+-H \"x-amz-security-token: $AWS_SESSION_TOKEN\"} -H 'content-type: application/json'",
    "-d '${local.example_body}' ${local.openai_url}/chat/completions",
    ]) : join(" ", [
    "curl -N -H \"authorization: Bearer $FIREBRICK_API_KEY\" -H 'content-type: application/json'",
    "-d '${local.example_body}' ${local.openai_url}/chat/completions",
  ])
}

output "api_key_command" {
  description = "Reads the API key (url_auth = \"NONE\")."
  value = var.url_auth == "AWS_IAM" ? null : join(" ", [
    "export FIREBRICK_API_KEY=\"$(aws secretsmanager get-secret-value --region ${local.region}",
    "--secret-id ${local.secret_name} --query SecretString --output text)\"",
  ])
}

output "api_key_secret" {
  description = "Its name in Secrets Manager."
  value       = try(aws_secretsmanager_secret.api_key[0].name, null)
}

output "openai_snippet" {
  description = "The same from Python."
  value = var.url_auth == "AWS_IAM" ? join("\n", [
    "import boto3, openai",
    "from botocore.auth import SigV4Auth",
    "from botocore.awsrequest import AWSRequest",
    "",
    "def sign(request):",
    "    headers = {\"host\": request.headers[\"host\"]}",
    "    signed = AWSRequest(request.method, str(request.url), data=request.content, headers=headers)",
    "    SigV4Auth(boto3.Session().get_credentials(), \"lambda\", \"${local.region}\").add_auth(signed)",
    "    request.headers.update(dict(signed.headers))",
    "    return request",
    "",
    "http = openai.DefaultHttpxClient(auth=sign, timeout=${var.timeout_s})",
    "client = openai.OpenAI(base_url=\"${local.openai_url}\", api_key=\"signed\", http_client=http)",
    ]) : join("\n", [
    "import os, openai",
    "",
    "client = openai.OpenAI(base_url=\"${local.openai_url}\", api_key=os.environ[\"FIREBRICK_API_KEY\"])",
  ])
}

output "caller_policy" {
  description = "What an IAM user or role of this account needs to call the URL (url_auth = \"AWS_IAM\")."
  value       = var.url_auth == "AWS_IAM" ? jsonencode(local.caller_policy) : null
}

output "caller_policy_arn" {
  description = "The same as a policy to attach."
  value       = try(aws_iam_policy.caller[0].arn, null)
}

output "queue_url" {
  description = "Where jobs go."
  value       = try(aws_sqs_queue.jobs[0].url, null)
}

output "dead_letter_queue_url" {
  description = "Where jobs go that can't be done."
  value       = try(aws_sqs_queue.dead[0].url, null)
}

output "results_queue_url" {
  description = "Where results come out as messages (worker.results.queue)."
  value       = try(aws_sqs_queue.results[0].url, null)
}

output "buckets" {
  description = "Results lie under results/; documents go into input, under documents/."
  value       = local.buckets
}

output "send_message_command" {
  description = "Put a job into the queue; its result appears as results/KEY.json."
  value = var.worker == null ? null : join(" ", [
    "aws sqs send-message --region ${local.region} --queue-url ${aws_sqs_queue.jobs[0].url}",
    "--message-body '${jsonencode({ idempotency_key = "first", messages = [{ role = "user", content = "What is a cold start?" }], max_tokens = 100 })}'",
    "&& sleep 30 && aws s3 cp --region ${local.region} s3://${local.results_name}/results/first.json -",
  ])
}

output "batches_arn" {
  description = "The state machine that takes batches."
  value       = try(aws_sfn_state_machine.batches[0].arn, null)
}

output "batches_role_arn" {
  description = "Its role, which examples/pipeline runs with, too."
  value       = try(aws_iam_role.batches[0].arn, null)
}

output "batch_commands" {
  description = "Start a batch over a prefix, a CSV file or a JSON lines file of the input bucket."
  value = var.batches == null ? null : {
    for form, input in local.batch_inputs : form => join(" ", [
      "aws stepfunctions start-execution --region ${local.region} --state-machine-arn ${aws_sfn_state_machine.batches[0].arn}",
      "--name ${form}-1 --input '${jsonencode(input)}'",
    ])
  }
}

output "put_document_command" {
  description = "Put a document there; its result appears under results/documents/."
  value = var.worker == null ? null : join(" ", [
    "echo 'A cold start is the first call of a function that nobody has called for a while.' |",
    "aws s3 cp - s3://${local.input_name}/documents/first.txt --region ${local.region} --content-type text/plain",
    "--metadata '${jsonencode({ instruction = "Summarize this.", request = jsonencode({ max_tokens = 100 }) })}'",
    "&& sleep 30 && aws s3 cp --recursive --region ${local.region} s3://${local.results_name}/results/documents/first.txt/ .",
  ])
}

output "smoke_command" {
  description = "Tries what was deployed."
  value       = "make invoke PROMPT='Hello' && aws logs tail /aws/lambda/${local.stream_name} --region ${local.region} --since 5m"
}

output "idle_cost_usd_per_month" {
  description = "What stands there costs this while nobody calls, by the region's list prices (handler/prices.json), without free tiers; null where they aren't known."
  value = local.idle == null ? null : merge(
    { for part, usd in local.idle : part => floor(usd * 100 + 0.5) / 100 if usd > 0 },
    { total = floor(sum(values(local.idle)) * 100 + 0.5) / 100 },
  )
}

output "destroy_command" {
  description = "Removes all of it."
  value       = "make destroy${var.worker == null || var.force_destroy ? "" : " TFVARS='-var force_destroy=true' # after an apply with it; else buckets must be empty"}"
}
