# Names and ARNs are made here, not read from resources: a policy that waited for a resource would show up in every plan.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  alias          = "live"
  stream_name    = "${var.name}-stream"
  worker_name    = "${var.name}-worker"
  function_names = var.worker == null ? [local.stream_name] : [local.stream_name, local.worker_name]
  lambda_arn     = "arn:${local.partition}:lambda:${local.region}:${local.account}:function"
  stream_alias   = "${local.lambda_arn}:${local.stream_name}:${local.alias}"
  worker_alias   = "${local.lambda_arn}:${local.worker_name}:${local.alias}"
  log_arn        = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda"

  queue_name   = "${var.name}-jobs"
  dead_name    = "${var.name}-dead"
  queue_arn    = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.queue_name}"
  dead_arn     = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.dead_name}"
  input_name   = "${var.name}-input-${local.account}-${local.region}"
  input_arn    = "arn:${local.partition}:s3:::${local.input_name}"
  results_name = "${var.name}-results-${local.account}-${local.region}"
  results_arn  = "arn:${local.partition}:s3:::${local.results_name}"

  secret_count = var.url_auth == "NONE" ? 1 : 0
  worker_count = var.worker == null ? 0 : 1

  # What a caller of a role must be, so that no other account's function can borrow it.
  assume_lambda = {
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  }

  # Lambda's processors: a whole one for each 1,769 MB, rounded as docs/performance.md measured it.
  stream_threads = max(1, min(6, floor(var.memory_mb / 1769 + 0.5)))
  worker_threads = max(1, min(6, floor(try(var.worker.memory_mb, 1769) / 1769 + 0.5)))
}
