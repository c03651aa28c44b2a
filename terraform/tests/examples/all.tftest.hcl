# Run once for each file of examples/, whose values it gets: `make check-deploy`.

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

run "can_be_planned" {
  command = plan

  variables {
    region    = "eu-central-1"
    model_dir = "terraform/tests/fixtures/artefact"
  }

  assert {
    condition     = startswith(aws_lambda_function.stream.function_name, "firebrick") && aws_lambda_function_url.stream.invoke_mode == "RESPONSE_STREAM"
    error_message = "Every example has a URL that streams."
  }
}
