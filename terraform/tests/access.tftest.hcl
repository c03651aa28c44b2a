# Who may call the URL: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  region    = "eu-central-1"
  model_dir = "terraform/tests/fixtures/artefact"
}

run "signed" {
  command = plan

  assert {
    condition     = aws_lambda_function_url.stream.authorization_type == "AWS_IAM"
    error_message = "Callers must sign by default."
  }

  assert {
    condition     = length(aws_lambda_permission.anybody_calls_the_url) + length(aws_cloudformation_stack.anybody_invokes_by_the_url) == 0
    error_message = "For callers who sign the function must have no policy of its own."
  }

  assert {
    condition     = length(aws_secretsmanager_secret.api_key) + length(aws_secretsmanager_secret_version.api_key) == 0
    error_message = "Callers who sign need no key."
  }

  assert {
    condition     = !contains(keys(aws_lambda_function.stream.environment[0].variables), "FIREBRICK_API_KEY_SECRET")
    error_message = "A signed request can't carry a key as well."
  }

  assert {
    condition = jsondecode(aws_iam_policy.caller[0].policy).Statement == [
      {
        Sid       = "CallTheUrl"
        Effect    = "Allow"
        Action    = "lambda:InvokeFunctionUrl"
        Resource  = "arn:aws:lambda:eu-central-1:123456789012:function:firebrick-stream:live"
        Condition = { StringEquals = { "lambda:FunctionUrlAuthType" = "AWS_IAM" } }
      },
      {
        Sid       = "InvokeByTheUrl"
        Effect    = "Allow"
        Action    = "lambda:InvokeFunction"
        Resource  = "arn:aws:lambda:eu-central-1:123456789012:function:firebrick-stream:live"
        Condition = { Bool = { "lambda:InvokedViaFunctionUrl" = "true" } }
      },
    ]
    error_message = "A caller needs both actions, each under its condition, on the alias alone."
  }

  assert {
    condition     = output.caller_policy == aws_iam_policy.caller[0].policy && output.api_key_command == null
    error_message = "The outputs must show the policy, and no key."
  }
}

run "by_key" {
  command = plan

  variables {
    url_auth        = "NONE"
    api_key_version = 3
    kms_key_arn     = "arn:aws:kms:eu-central-1:123456789012:key/mine"
  }

  assert {
    condition     = length(aws_iam_policy.caller) == 0 && output.caller_policy == null
    error_message = "Whoever has the key needs no policy."
  }

  assert {
    condition     = aws_lambda_permission.anybody_calls_the_url[0].action == "lambda:InvokeFunctionUrl"
    error_message = "Only InvokeFunctionUrl may be granted by aws_lambda_permission, which lacks InvokedViaFunctionUrl."
  }

  assert {
    condition = alltrue([
      aws_lambda_permission.anybody_calls_the_url[0].principal == "*",
      aws_lambda_permission.anybody_calls_the_url[0].function_url_auth_type == "NONE",
      aws_lambda_permission.anybody_calls_the_url[0].qualifier == "live",
    ])
    error_message = "Anybody may call the alias' URL, where it has no IAM."
  }

  assert {
    condition = length(regexall("resource \"aws_lambda_permission\"", join("\n", [
      for name in fileset(path.module, "*.tf") : file("${path.module}/${name}")
    ]))) == 1
    error_message = "Another aws_lambda_permission would grant something that this file doesn't know."
  }

  assert {
    condition = jsondecode(aws_cloudformation_stack.anybody_invokes_by_the_url[0].template_body).Resources == {
      Permission = {
        Type = "AWS::Lambda::Permission"
        Properties = {
          FunctionName          = "arn:aws:lambda:eu-central-1:123456789012:function:firebrick-stream:live"
          Action                = "lambda:InvokeFunction"
          Principal             = "*"
          InvokedViaFunctionUrl = true
        }
      }
    }
    error_message = "Without InvokedViaFunctionUrl every account could invoke the function past the key."
  }

  assert {
    condition     = contains(keys(aws_lambda_function.stream.environment[0].variables), "FIREBRICK_API_KEY_SECRET")
    error_message = "The server must know where its key is."
  }

  assert {
    condition     = !contains(keys(aws_lambda_function.stream.environment[0].variables), "FIREBRICK_API_KEY")
    error_message = "The key itself must not stand in the function's configuration."
  }

  assert {
    condition     = aws_secretsmanager_secret.api_key[0].name == "firebrick/api-key" && aws_secretsmanager_secret.api_key[0].kms_key_id == var.kms_key_arn
    error_message = "The secret must have its name and the user's key."
  }

  assert {
    condition     = aws_secretsmanager_secret_version.api_key[0].secret_string_wo_version == 3
    error_message = "A larger api_key_version must write a new key."
  }

  # The state has null for write-only arguments; the two others would be kept.
  assert {
    condition     = aws_secretsmanager_secret_version.api_key[0].secret_string_wo == null
    error_message = "The key must be written by the write-only argument alone."
  }

  assert {
    condition = length(regexall("(?m)^\\s*secret_(string|binary)\\s*=", join("\n", [
      for name in fileset(path.module, "*.tf") : file("${path.module}/${name}")
    ]))) == 0
    error_message = "secret_string and secret_binary are kept in the state."
  }

  assert {
    condition     = strcontains(output.api_key_command, "firebrick/api-key")
    error_message = "The outputs must say how to read the key."
  }
}
