# Who starts tasks may fetch this image and this key and write this log. The tasks themselves have no role.

resource "aws_iam_role" "execution" {
  name = "${local.service_name}-execution"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "execution" {
  name = "least"
  role = aws_iam_role.execution.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "SignIn"
          Effect   = "Allow"
          Action   = "ecr:GetAuthorizationToken"
          Resource = "*" # It is the account's, so there are no resources for it.
        },
        {
          Sid      = "FetchTheImage"
          Effect   = "Allow"
          Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
          Resource = local.image_arn
        },
        {
          Sid      = "Log"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${local.log_arn}:*"
        },
        {
          Sid    = "ApiKey"
          Effect = "Allow"
          Action = "secretsmanager:GetSecretValue"
          # Secrets Manager adds a hyphen and six characters to each secret's ARN.
          Resource = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${local.secret_name}-??????"
        },
      ],
      var.kms_key_arn == null ? [] : [{
        Sid       = "ApiKeyDecryption"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = var.kms_key_arn
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.region}.amazonaws.com" } }
      }],
    )
  })
}

# ---------------------------------------------------------------- the API key

data "aws_secretsmanager_secret" "given" {
  count = 1 - local.secret_count
  name  = var.api_key_secret
}

resource "aws_secretsmanager_secret" "api_key" {
  # checkov:skip=CKV_AWS_149:A key of one's own is optional (kms_key_arn).
  count                   = local.secret_count
  name                    = local.secret_name
  description             = "API key of ${local.service_name}"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = 0 # Else its name would be taken for a month after `terraform destroy`.
}

# Drawn anew at each run and only used when api_key_version grows; neither plan nor state ever has it.
ephemeral "aws_secretsmanager_random_password" "api_key" {
  count                      = local.secret_count
  password_length            = 40
  exclude_punctuation        = true
  require_each_included_type = aws_secretsmanager_secret.api_key[0].arn != ""
}

resource "aws_secretsmanager_secret_version" "api_key" {
  count                    = local.secret_count
  secret_id                = aws_secretsmanager_secret.api_key[0].id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.api_key[0].random_password
  secret_string_wo_version = var.api_key_version
}

locals {
  secret_arn = var.api_key_secret == null ? aws_secretsmanager_secret.api_key[0].arn : data.aws_secretsmanager_secret.given[0].arn
}
