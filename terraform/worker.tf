# The function behind the queue, if it is wanted.

resource "aws_cloudwatch_log_group" "worker" {
  count             = local.worker_count
  name              = "/aws/lambda/${local.worker_name}"
  retention_in_days = var.monitoring.log_retention_days
  kms_key_id        = var.kms_key_arn

  depends_on = [terraform_data.builder]
}

resource "aws_iam_role" "worker" {
  count              = local.worker_count
  name               = local.worker_name
  assume_role_policy = jsonencode(local.assume_lambda)

  depends_on = [terraform_data.builder]
}

resource "aws_iam_role_policy" "worker" {
  count = local.worker_count
  name  = "least"
  role  = aws_iam_role.worker[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      local.common_statements[local.worker_name],
      local.model_statements,
      [
        {
          Sid      = "TakeJobs"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
          Resource = local.queue_arn
        },
        {
          Sid      = "ReportLostInvokes"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = local.dead_arn
        },
        {
          Sid      = "KeepResults"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject"]
          Resource = [for prefix in ["results", "plans", "parts", "failed"] : "${local.results_arn}/${prefix}/*"]
        },
        {
          Sid      = "ReadDocuments"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:GetObjectVersion"]
          Resource = "${local.input_arn}/documents/*"
        },
        {
          Sid      = "TellMissingObjectsFromForbiddenOnes"
          Effect   = "Allow"
          Action   = "s3:ListBucket"
          Resource = [local.results_arn, local.input_arn]
        },
        {
          Sid      = "GoOnInAnotherInvocation"
          Effect   = "Allow"
          Action   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
          Resource = local.queue_arn
        },
      ],
      local.results_statements,
      var.kms_key_arn == null ? [] : [{
        Sid      = "EncryptQueueAndBucket"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = var.kms_key_arn
        Condition = {
          StringEquals = { "kms:ViaService" = ["s3.${local.region}.amazonaws.com", "sqs.${local.region}.amazonaws.com"] }
        }
      }],
    )
  })
}

resource "aws_lambda_function" "worker" {
  count         = local.worker_count
  function_name = local.worker_name
  description   = "Firebrick: a language model behind a queue"
  package_type  = "Image"
  image_uri     = local.images["worker"]
  role          = aws_iam_role.worker[0].arn
  architectures = [var.architecture]
  memory_size   = var.worker.memory_mb
  timeout       = var.worker.timeout_s
  kms_key_arn   = var.kms_key_arn
  publish       = true

  environment {
    variables = merge(
      {
        OMP_NUM_THREADS              = tostring(local.worker_threads)
        POWERTOOLS_SERVICE_NAME      = local.worker_name
        POWERTOOLS_METRICS_NAMESPACE = local.metrics_namespace
        FIREBRICK_RESULTS_BUCKET     = aws_s3_bucket.results[0].bucket
        FIREBRICK_INPUT_BUCKET       = aws_s3_bucket.input[0].bucket
      },
      var.worker.document_instruction == null ? {} : { FIREBRICK_DOCUMENT_INSTRUCTION = var.worker.document_instruction },
      local.results_variables,
      local.model_variables,
      var.environment,
    )
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.worker[0].name
  }

  tracing_config {
    mode = var.monitoring.tracing ? "Active" : "PassThrough"
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]
    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = [aws_security_group.functions[0].id]
    }
  }

  depends_on = [aws_iam_role_policy.worker, aws_ecr_repository_policy.images]
}

resource "aws_lambda_alias" "worker" {
  count            = local.worker_count
  name             = local.alias
  description      = "what the queue calls"
  function_name    = aws_lambda_function.worker[0].function_name
  function_version = aws_lambda_function.worker[0].version
}

resource "aws_lambda_event_source_mapping" "jobs" {
  count                              = local.worker_count
  event_source_arn                   = aws_sqs_queue.jobs[0].arn
  function_name                      = local.worker_alias
  batch_size                         = var.worker.batch_size
  maximum_batching_window_in_seconds = var.worker.batch_window_s
  function_response_types            = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.worker.maximum_concurrency
  }

  depends_on = [aws_lambda_alias.worker]
}

# Plain asynchronous invokes: tried three times in all, then told to the dead-letter queue.
resource "aws_lambda_function_event_invoke_config" "worker" {
  count                        = local.worker_count
  function_name                = aws_lambda_function.worker[0].function_name
  qualifier                    = aws_lambda_alias.worker[0].name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 21600

  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead[0].arn
    }
  }
}
