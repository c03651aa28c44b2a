# Environments that are kept awake.

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

run "none" {
  command = plan

  assert {
    condition = sum([
      length(aws_lambda_provisioned_concurrency_config.fixed), length(aws_lambda_provisioned_concurrency_config.scaled),
      length(aws_appautoscaling_target.stream), length(aws_appautoscaling_policy.use), length(aws_appautoscaling_scheduled_action.clock),
    ]) == 0
    error_message = "By default nothing is kept awake."
  }
}

run "fixed" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 3 }
  }

  assert {
    condition = alltrue([
      aws_lambda_provisioned_concurrency_config.fixed[0].provisioned_concurrent_executions == 3,
      aws_lambda_provisioned_concurrency_config.fixed[0].qualifier == "live",
    ])
    error_message = "Three environments of the alias must be kept awake."
  }

  assert {
    condition     = length(aws_appautoscaling_target.stream) + length(aws_lambda_provisioned_concurrency_config.scaled) == 0
    error_message = "A fixed number must not be scaled."
  }
}

run "by_use" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 1, maximum = 4, target = 0.5 }
  }

  assert {
    condition     = aws_appautoscaling_target.stream[0].resource_id == "function:firebrick-stream:live"
    error_message = "The alias must be scaled."
  }

  assert {
    condition     = aws_appautoscaling_target.stream[0].min_capacity == 1 && aws_appautoscaling_target.stream[0].max_capacity == 4
    error_message = "The bounds are the user's."
  }

  assert {
    condition     = aws_appautoscaling_policy.use[0].target_tracking_scaling_policy_configuration[0].target_value == 0.5
    error_message = "The target is the user's."
  }

  assert {
    condition     = aws_lambda_provisioned_concurrency_config.scaled[0].provisioned_concurrent_executions == 1 && length(aws_lambda_provisioned_concurrency_config.fixed) == 0
    error_message = "It must begin with the minimum, and nothing may hold it there."
  }

  assert {
    condition     = length(aws_appautoscaling_scheduled_action.clock) == 0
    error_message = "No schedule was given."
  }
}

run "by_the_clock" {
  command = plan

  variables {
    provisioned_concurrency = {
      minimum = 1
      schedule = [
        { when = "cron(0 7 ? * MON-FRI *)", minimum = 2, maximum = 2, timezone = "Europe/Berlin" },
        { when = "cron(0 19 ? * * *)", minimum = 0, maximum = 0 },
      ]
    }
  }

  assert {
    condition     = length(aws_appautoscaling_target.stream) == 1 && length(aws_lambda_provisioned_concurrency_config.fixed) == 0
    error_message = "What a schedule moves must be scaled."
  }

  assert {
    condition = toset([
      for action in aws_appautoscaling_scheduled_action.clock :
      "${action.schedule} ${action.timezone} ${action.scalable_target_action[0].min_capacity}-${action.scalable_target_action[0].max_capacity}"
    ]) == toset(["cron(0 7 ? * MON-FRI *) Europe/Berlin 2-2", "cron(0 19 ? * * *) UTC 0-0"])
    error_message = "Each entry must become an action at its time, in its timezone."
  }
}
