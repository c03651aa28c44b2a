# The function behind the URL: Web Adapter, OpenAI-compatible server, model.

resource "aws_cloudwatch_log_group" "stream" {
  name              = "/aws/lambda/${local.stream_name}"
  retention_in_days = var.monitoring.log_retention_days
  kms_key_id        = var.kms_key_arn

  depends_on = [terraform_data.builder]
}

resource "aws_iam_role" "stream" {
  name               = local.stream_name
  assume_role_policy = jsonencode(local.assume_lambda)

  depends_on = [terraform_data.builder]
}

resource "aws_iam_role_policy" "stream" {
  name = "least"
  role = aws_iam_role.stream.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      local.common_statements[local.stream_name],
      local.model_statements,
      local.secret_count == 0 ? [] : [{
        Sid    = "ApiKey"
        Effect = "Allow"
        Action = "secretsmanager:GetSecretValue"
        # Secrets Manager adds a hyphen and six characters to each secret's ARN.
        Resource = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${local.secret_name}-??????"
      }],
      local.secret_count == 0 || var.kms_key_arn == null ? [] : [{
        Sid       = "ApiKeyDecryption"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = var.kms_key_arn
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.region}.amazonaws.com" } }
      }],
    )
  })
}

resource "aws_lambda_function" "stream" {
  function_name                  = local.stream_name
  description                    = "Firebrick: a language model behind OpenAI's API, streaming"
  package_type                   = "Image"
  image_uri                      = local.images["stream"]
  role                           = aws_iam_role.stream.arn
  architectures                  = [var.architecture]
  memory_size                    = var.memory_mb
  timeout                        = var.timeout_s
  reserved_concurrent_executions = coalesce(var.reserved_concurrency, -1)
  kms_key_arn                    = var.kms_key_arn
  publish                        = true

  ephemeral_storage {
    size = var.tmp_mb
  }

  environment {
    variables = merge(
      {
        OMP_NUM_THREADS              = tostring(local.stream_threads)
        POWERTOOLS_SERVICE_NAME      = local.stream_name
        POWERTOOLS_METRICS_NAMESPACE = local.metrics_namespace
      },
      # The URL keeps `Authorization` for the signature, so a signed request can't carry a key as well.
      local.secret_count == 0 ? {} : { FIREBRICK_API_KEY_SECRET = local.secret_name },
      local.model_variables,
      var.environment,
    )
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.stream.name
  }

  tracing_config {
    mode = var.monitoring.tracing ? "Active" : "PassThrough"
  }

  dynamic "snap_start" {
    for_each = var.snap_start ? [1] : []
    content {
      apply_on = "PublishedVersions"
    }
  }

  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]
    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = [aws_security_group.functions[0].id]
    }
  }

  depends_on = [aws_iam_role_policy.stream, aws_ecr_repository_policy.images, aws_secretsmanager_secret_version.api_key]
}

resource "aws_lambda_alias" "stream" {
  name             = local.alias
  description      = "what the URL calls"
  function_name    = aws_lambda_function.stream.function_name
  function_version = aws_lambda_function.stream.version
}
