# The function behind the URL.

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

override_resource {
  target          = aws_lambda_function.stream
  override_during = plan
  values          = { version = "7" }
}

run "by_default" {
  command = plan

  assert {
    condition     = aws_lambda_function.stream.package_type == "Image" && aws_lambda_function.stream.publish
    error_message = "Each change must publish a version of the image function."
  }

  assert {
    condition     = aws_lambda_alias.stream.name == "live" && aws_lambda_alias.stream.function_version == "7"
    error_message = "The alias must lead to the version that was published."
  }

  assert {
    condition     = aws_lambda_function_url.stream.qualifier == "live" && aws_lambda_function_url.stream.invoke_mode == "RESPONSE_STREAM"
    error_message = "The URL must call the alias and stream."
  }

  assert {
    condition     = length(aws_lambda_function_url.stream.cors) == 0
    error_message = "Without cors_origins no page may call."
  }

  assert {
    condition = aws_lambda_function.stream.environment[0].variables == tomap({
      OMP_NUM_THREADS              = "6"
      POWERTOOLS_SERVICE_NAME      = "firebrick-stream"
      POWERTOOLS_METRICS_NAMESPACE = "Firebrick"
    })
    error_message = "The environment isn't the one of 10,240 MB, six processors, without a key."
  }

  assert {
    condition     = length(aws_lambda_function.stream.snap_start) == 0 && length(aws_lambda_function.stream.vpc_config) == 0
    error_message = "Neither snapshots nor a VPC were asked for."
  }

  assert {
    condition     = aws_lambda_function.stream.logging_config[0].log_format == "JSON"
    error_message = "Logs must be JSON."
  }

  assert {
    condition     = aws_lambda_function.stream.logging_config[0].log_group == aws_cloudwatch_log_group.stream.name
    error_message = "Logs must go to the group whose retention is set here."
  }

  assert {
    condition     = aws_cloudwatch_log_group.stream.name == "/aws/lambda/firebrick-stream" && aws_cloudwatch_log_group.stream.retention_in_days == 30
    error_message = "Logs must expire."
  }

  assert {
    condition     = aws_lambda_function.stream.tracing_config[0].mode == "Active"
    error_message = "Traces are on by default."
  }
}

run "with_everything_of_its_own" {
  command = plan

  variables {
    name                 = "mine"
    memory_mb            = 3008
    timeout_s            = 60
    tmp_mb               = 1024
    reserved_concurrency = 5
    cors_origins         = ["https://example.org"]
    environment          = { FIREBRICK_LOG_LEVEL = "DEBUG" }
    monitoring           = { tracing = false, log_retention_days = 7 }
    kms_key_arn          = "arn:aws:kms:eu-central-1:123456789012:key/mine"
  }

  assert {
    condition     = aws_lambda_function.stream.memory_size == 3008 && aws_lambda_function.stream.timeout == 60
    error_message = "Memory and timeout are the user's."
  }

  assert {
    condition     = aws_lambda_function.stream.ephemeral_storage[0].size == 1024 && aws_lambda_function.stream.reserved_concurrent_executions == 5
    error_message = "/tmp and the reserved concurrency are the user's."
  }

  assert {
    condition = aws_lambda_function.stream.environment[0].variables == tomap({
      OMP_NUM_THREADS              = "2"
      POWERTOOLS_SERVICE_NAME      = "mine-stream"
      POWERTOOLS_METRICS_NAMESPACE = "Firebrick"
      FIREBRICK_LOG_LEVEL          = "DEBUG"
    })
    error_message = "The environment isn't the one of 3,008 MB with the user's setting."
  }

  assert {
    condition     = aws_lambda_function_url.stream.cors[0].allow_origins == toset(["https://example.org"])
    error_message = "The origin must be allowed."
  }

  assert {
    condition     = !coalesce(aws_lambda_function_url.stream.cors[0].allow_credentials, false)
    error_message = "Cookies have no business here."
  }

  assert {
    condition     = aws_lambda_function.stream.tracing_config[0].mode == "PassThrough"
    error_message = "tracing = false must end tracing."
  }

  assert {
    condition     = aws_cloudwatch_log_group.stream.retention_in_days == 7
    error_message = "The retention is the user's."
  }

  assert {
    condition = alltrue([for key in [
      aws_lambda_function.stream.kms_key_arn, aws_cloudwatch_log_group.stream.kms_key_id, aws_ecr_repository.images[0].encryption_configuration[0].kms_key,
    ] : key == var.kms_key_arn])
    error_message = "The user's key must encrypt environment, logs and images."
  }
}

run "one_processor" {
  command = plan

  variables {
    memory_mb = 1769
    worker    = { memory_mb = 128 }
  }

  assert {
    condition     = aws_lambda_function.stream.environment[0].variables.OMP_NUM_THREADS == "1"
    error_message = "1,769 MB are one processor."
  }

  assert {
    condition     = aws_lambda_function.worker[0].environment[0].variables.OMP_NUM_THREADS == "1"
    error_message = "There is always one thread, however little memory."
  }
}
