# Jobs, and where those go that can't be done.

locals {
  tls_only = {
    for name, arn in { (local.queue_name) = local.queue_arn, (local.dead_name) = local.dead_arn } : name => {
      Sid                                 = "TlsOnly"
      Effect                              = "Deny"
      Principal                           = "*"
      Action                              = "sqs:*"
      Resource                            = arn
      Condition                           = { Bool = { "aws:SecureTransport" = "false" } }
    }
  }
  # S3 tells of documents, but of no other bucket's, and nobody else's.
  notifications = {
    Sid       = "TakeNotifications"
    Effect    = "Allow"
    Principal = { Service = "s3.amazonaws.com" }
    Action    = "sqs:SendMessage"
    Resource  = local.queue_arn
    Condition = {
      ArnEquals    = { "aws:SourceArn" = local.input_arn }
      StringEquals = { "aws:SourceAccount" = local.account }
    }
  }
}

resource "aws_sqs_queue" "jobs" {
  count                      = local.worker_count
  name                       = local.queue_name
  visibility_timeout_seconds = 6 * var.worker.timeout_s # as AWS advises, so that a retried batch stays invisible
  message_retention_seconds  = 4 * 24 * 3600
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  policy                     = jsonencode({ Version = "2012-10-17", Statement = [local.tls_only[local.queue_name], local.notifications] })

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[0].arn
    maxReceiveCount     = var.worker.max_receive_count
  })
}

resource "aws_sqs_queue" "dead" {
  count                     = local.worker_count
  name                      = local.dead_name
  message_retention_seconds = 14 * 24 * 3600
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  policy                    = jsonencode({ Version = "2012-10-17", Statement = [local.tls_only[local.dead_name]] })

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arn]
  })

  depends_on = [terraform_data.builder]
}
