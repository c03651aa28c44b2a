# The function URL, and who may call it. Since October 2025 that takes two actions, InvokeFunctionUrl and InvokeFunction; the
# second only under InvokedViaFunctionUrl, or the caller could invoke the function without the URL:
# https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html

locals {
  secret_name = "${var.name}/api-key"

  # For callers within this account an identity's policy is enough; nothing else is granted with AWS_IAM.
  caller_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "CallTheUrl"
        Effect    = "Allow"
        Action    = "lambda:InvokeFunctionUrl"
        Resource  = local.stream_alias
        Condition = { StringEquals = { "lambda:FunctionUrlAuthType" = "AWS_IAM" } }
      },
      {
        Sid       = "InvokeByTheUrl"
        Effect    = "Allow"
        Action    = "lambda:InvokeFunction"
        Resource  = local.stream_alias
        Condition = { Bool = { "lambda:InvokedViaFunctionUrl" = "true" } }
      },
    ]
  }
}

resource "aws_lambda_function_url" "stream" {
  function_name      = aws_lambda_function.stream.function_name
  qualifier          = aws_lambda_alias.stream.name
  authorization_type = var.url_auth
  invoke_mode        = "RESPONSE_STREAM"

  dynamic "cors" {
    for_each = length(var.cors_origins) == 0 ? [] : [1]
    content {
      allow_origins  = var.cors_origins
      allow_methods  = ["GET", "POST"]
      allow_headers  = ["authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"]
      expose_headers = ["x-amzn-requestid", "x-request-id"]
      max_age        = 3600
    }
  }
}

resource "aws_iam_policy" "caller" {
  count       = var.url_auth == "AWS_IAM" ? 1 : 0
  name        = "${var.name}-caller"
  description = "May call the function URL of ${local.stream_name}"
  policy      = jsonencode(local.caller_policy)

  depends_on = [terraform_data.builder]
}

# ---------------------------------------------------------------- NONE: whoever has the key

resource "aws_secretsmanager_secret" "api_key" {
  count                   = local.secret_count
  name                    = local.secret_name
  description             = "API key of ${local.stream_name}'s function URL"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = 0 # Else its name would be taken for a month after `terraform destroy`.

  depends_on = [terraform_data.builder]
}

# Drawn anew at each run and only used when api_key_version grows; neither plan nor state ever has it. A first plan doesn't
# know the secret's ARN, so it draws none, and needs no rights for it.
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

resource "aws_lambda_permission" "anybody_calls_the_url" {
  count                  = local.secret_count
  statement_id           = "AnybodyCallsTheUrl"
  function_name          = aws_lambda_function.stream.function_name
  qualifier              = aws_lambda_alias.stream.name
  principal              = "*" # The server asks for the key.
  action                 = "lambda:InvokeFunctionUrl"
  function_url_auth_type = "NONE"
}

# This provider's aws_lambda_permission lacks invoked_via_function_url, and without that condition every account could
# invoke the function directly, past the key. CloudFormation's has it.
resource "aws_cloudformation_stack" "anybody_invokes_by_the_url" {
  count = local.secret_count
  name  = "${var.name}-url-permission"

  template_body = jsonencode({
    AWSTemplateFormatVersion = "2010-09-09"
    Description              = "Lets a function URL without IAM invoke its function, and nobody else."
    Resources = {
      Permission = {
        Type = "AWS::Lambda::Permission"
        Properties = {
          FunctionName          = local.stream_alias
          Action                = "lambda:InvokeFunction"
          Principal             = "*"
          InvokedViaFunctionUrl = true
        }
      }
    }
  })

  depends_on = [aws_lambda_alias.stream]
}
