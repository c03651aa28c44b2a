# Where results go besides the bucket: a queue of ours, a bus of somebody's.

locals {
  results_queue        = try(var.worker.results.queue, false)
  results_bus          = try(var.worker.results.bus_arn, null)
  results_queue_count  = local.results_queue ? 1 : 0
  results_queue_name   = "${var.name}-results"
  results_queue_arn    = "arn:${local.partition}:sqs:${local.region}:${local.account}:${local.results_queue_name}"
  results_destinations = concat(local.results_queue ? ["sqs"] : [], local.results_bus == null ? [] : ["events"])
  sent_objects         = "${local.results_arn}/sent/*" # where the bucket remembers what was sent

  results_variables = length(local.results_destinations) == 0 ? {} : merge(
    { FIREBRICK_RESULTS = join(",", local.results_destinations) },
    local.results_queue ? { FIREBRICK_RESULTS_QUEUE_URL = aws_sqs_queue.results[0].url } : {},
    local.results_bus == null ? {} : { FIREBRICK_RESULTS_BUS = local.results_bus },
  )
  results_statements = concat(
    length(local.results_destinations) == 0 ? [] : [{
      Sid      = "NoteWhatWasSent"
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject"]
      Resource = local.sent_objects
    }],
    local.results_queue ? [{
      Sid      = "SendResults"
      Effect   = "Allow"
      Action   = "sqs:SendMessage"
      Resource = local.results_queue_arn
    }] : [],
    local.results_bus == null ? [] : [{
      Sid      = "PutResults"
      Effect   = "Allow"
      Action   = "events:PutEvents"
      Resource = local.results_bus
    }],
  )
}

resource "aws_sqs_queue" "results" {
  count                     = local.results_queue_count
  name                      = local.results_queue_name
  message_retention_seconds = 14 * 24 * 3600
  receive_wait_time_seconds = 20
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = local.results_queue_arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [terraform_data.builder]
}
