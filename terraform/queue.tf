# Jobs, and where those go that can't be done.

locals {
  tls_only = {
    for name, arn in { (local.queue_name) = local.queue_arn, (local.dead_name) = local.dead_arn } : name => jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }]
    })
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
  policy                     = local.tls_only[local.queue_name]

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
  policy                    = local.tls_only[local.dead_name]

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arn]
  })

  depends_on = [terraform_data.builder]
}
