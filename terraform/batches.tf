# Many items at once: a state machine that calls the worker for each object of a prefix, row of a CSV file or line of JSON.
# What it does with them is in state_machine.tf.

locals {
  batches_count = var.batches == null ? 0 : 1
  batches_name  = "${var.name}-batches"
  states_arn    = "arn:${local.partition}:states:${local.region}:${local.account}"
  batches_arn   = "${local.states_arn}:stateMachine:${local.batches_name}"
}

# The name begins so that CloudWatch keeps one policy for all state machines' logs.
resource "aws_cloudwatch_log_group" "batches" {
  count             = local.batches_count
  name              = "/aws/vendedlogs/states/${local.batches_name}"
  retention_in_days = var.monitoring.log_retention_days
  kms_key_id        = var.kms_key_arn

  depends_on = [terraform_data.builder]
}

resource "aws_iam_role" "batches" {
  count = local.batches_count
  name  = local.batches_name

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "states.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "${local.states_arn}:stateMachine:${var.name}-*" }
      }
    }]
  })

  depends_on = [terraform_data.builder]
}

resource "aws_iam_role_policy" "batches" {
  count = local.batches_count
  name  = "least"
  role  = aws_iam_role.batches[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "AskTheWorker"
          Effect   = "Allow"
          Action   = "lambda:InvokeFunction"
          Resource = local.worker_alias
        },
        {
          Sid      = "ListInput"
          Effect   = "Allow"
          Action   = "s3:ListBucket"
          Resource = local.input_arn
        },
        {
          Sid      = "ReadInput"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:GetObjectVersion"]
          Resource = "${local.input_arn}/*"
        },
        {
          Sid      = "WriteReports"
          Effect   = "Allow"
          Action   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
          Resource = "${local.results_arn}/batches/*"
        },
        {
          Sid      = "StartChildren"
          Effect   = "Allow"
          Action   = "states:StartExecution"
          Resource = local.batches_arn
        },
        {
          Sid      = "WatchChildren"
          Effect   = "Allow"
          Action   = ["states:DescribeExecution", "states:RedriveExecution", "states:StopExecution"]
          Resource = ["${local.states_arn}:execution:${local.batches_name}:*", "${local.states_arn}:execution:${local.batches_name}/*"]
        },
        {
          Sid    = "DeliverLogs"
          Effect = "Allow"
          Action = [
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
            "logs:GetLogDelivery",
            "logs:ListLogDeliveries",
            "logs:PutResourcePolicy",
            "logs:UpdateLogDelivery",
          ]
          Resource = "*" # CloudWatch knows no resources for deliveries.
        },
      ],
      var.monitoring.tracing ? [{
        Sid      = "Trace"
        Effect   = "Allow"
        Action   = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"]
        Resource = "*" # X-Ray knows no resources for these.
      }] : [],
      var.kms_key_arn == null ? [] : [
        {
          Sid       = "EncryptObjects"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = var.kms_key_arn
          Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
        },
        {
          Sid       = "EncryptExecutions"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = var.kms_key_arn
          Condition = { StringLike = { "kms:EncryptionContext:aws:states:stateMachineArn" = "${local.batches_arn}*" } }
        },
      ],
    )
  })
}

resource "aws_sfn_state_machine" "batches" {
  count      = local.batches_count
  name       = local.batches_name
  role_arn   = aws_iam_role.batches[0].arn
  definition = jsonencode(local.batches_definition)

  # Texts and answers are in the executions and in the bucket, not in the log.
  logging_configuration {
    level                  = "ERROR"
    include_execution_data = false
    log_destination        = "${aws_cloudwatch_log_group.batches[0].arn}:*"
  }

  tracing_configuration {
    enabled = var.monitoring.tracing
  }

  dynamic "encryption_configuration" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      type                              = "CUSTOMER_MANAGED_KMS_KEY"
      kms_key_id                        = encryption_configuration.value
      kms_data_key_reuse_period_seconds = 300
    }
  }

  depends_on = [aws_iam_role_policy.batches, aws_lambda_alias.worker]
}

locals {
  batch_inputs = {
    prefix = { prefix = "letters/", instruction = "Summarize the letter in one sentence.", max_tokens = 100 }
    csv    = { csv = "questions.csv", instruction = "Answer in one sentence.", max_tokens = 100 }
    jsonl  = { jsonl = "requests.jsonl" }
  }
}
