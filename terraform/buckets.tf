# Where results lie, and where documents are put for the worker.

resource "aws_s3_bucket" "results" {
  count         = local.worker_count
  bucket        = local.results_name
  force_destroy = var.force_destroy

  depends_on = [terraform_data.builder]
}

resource "aws_s3_bucket" "input" {
  count         = local.worker_count
  bucket        = local.input_name
  force_destroy = var.force_destroy

  depends_on = [terraform_data.builder]
}

locals {
  buckets = var.worker == null ? {} : { input = aws_s3_bucket.input[0].bucket, results = aws_s3_bucket.results[0].bucket }
}

# A document that is overwritten before it is answered is answered all the same.
resource "aws_s3_bucket_versioning" "input" {
  count  = local.worker_count
  bucket = aws_s3_bucket.input[0].bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_notification" "documents" {
  count  = local.worker_count
  bucket = aws_s3_bucket.input[0].bucket

  queue {
    id            = "documents"
    queue_arn     = aws_sqs_queue.jobs[0].arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "documents/"
  }

  depends_on = [aws_s3_bucket_versioning.input]
}

resource "aws_s3_bucket_public_access_block" "all" {
  for_each                = local.buckets
  bucket                  = each.value
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "all" {
  for_each = local.buckets
  bucket   = each.value

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "all" {
  for_each = local.buckets
  bucket   = each.value

  rule {
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "all" {
  for_each = local.buckets
  bucket   = each.value

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = var.worker.retention_days
    }

    noncurrent_version_expiration {
      noncurrent_days = var.worker.retention_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  # Where there are versions, what expires leaves a marker.
  dynamic "rule" {
    for_each = each.key == "input" ? [true] : []
    content {
      id     = "markers"
      status = "Enabled"

      filter {}

      expiration {
        expired_object_delete_marker = true
      }
    }
  }

  # What a document's parts are needed for is done, or given up and taken out of the dead-letter queue again, by then.
  dynamic "rule" {
    for_each = each.key == "results" ? [true] : []
    content {
      id     = "parts"
      status = "Enabled"

      filter {
        prefix = "parts/"
      }

      expiration {
        days = min(14, var.worker.retention_days)
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.input]
}

resource "aws_s3_bucket_policy" "all" {
  for_each = local.buckets
  bucket   = each.value

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:${local.partition}:s3:::${each.value}", "arn:${local.partition}:s3:::${each.value}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.all]
}
