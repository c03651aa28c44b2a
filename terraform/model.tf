# A model that lies in S3 and not in the image: where, and what the functions need to read it.

locals {
  model_s3     = var.model_s3_uri == null ? null : regex("^s3://(?P<bucket>[^/]+)/?(?P<prefix>.*?)/?$", var.model_s3_uri)
  model_bucket = local.model_s3 == null ? null : "arn:${local.partition}:s3:::${local.model_s3.bucket}"
  model_prefix = try(local.model_s3.prefix, "") == "" ? "" : "${local.model_s3.prefix}/"

  model_variables = var.model_s3_uri == null ? {} : { FIREBRICK_MODEL_DIR = var.model_s3_uri }

  model_statements = concat(
    local.model_s3 == null ? [] : [
      {
        Sid      = "ReadModel"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "${local.model_bucket}/${local.model_prefix}*"
      },
      {
        # Without it, S3 calls a missing file a forbidden one. A GET has no prefix that a condition could be held against.
        Sid      = "TellMissingModelFromForbiddenOne"
        Effect   = "Allow"
        Action   = "s3:ListBucket"
        Resource = local.model_bucket
      },
    ],
    var.model_kms_key_arn == null ? [] : [{
      Sid       = "DecryptModel"
      Effect    = "Allow"
      Action    = "kms:Decrypt"
      Resource  = var.model_kms_key_arn
      Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
    }],
  )
}
