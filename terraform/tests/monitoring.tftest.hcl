# Logs, alarms, dashboard, traces, budget: on and off.

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

run "by_default" {
  command = plan

  variables {
    worker = {}
  }

  assert {
    condition     = aws_cloudwatch_log_group.stream.name == "/aws/lambda/firebrick-stream" && aws_cloudwatch_log_group.stream.retention_in_days == 30
    error_message = "Logs are kept for 30 days."
  }

  assert {
    condition     = aws_cloudwatch_log_group.worker[0].retention_in_days == 30
    error_message = "Logs are kept for 30 days."
  }

  assert {
    condition     = aws_lambda_function.stream.logging_config[0].log_format == "JSON" && aws_lambda_function.worker[0].logging_config[0].log_format == "JSON"
    error_message = "Logs are JSON."
  }

  assert {
    condition     = aws_lambda_function.stream.tracing_config[0].mode == "Active"
    error_message = "X-Ray is on."
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.all) == 1 && length(aws_budgets_budget.monthly) == 0
    error_message = "A dashboard and no budget."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.all : alarm.treat_missing_data == "notBreaching" && startswith(alarm.alarm_name, "firebrick-")])
    error_message = "Alarms are quiet while nobody calls."
  }

  assert {
    condition     = alltrue([for metric in ["FirstTokenTime", "DecodeTokensPerSecond", "PromptTokens", "CompletionTokens", "ColdStart", "QueueWait", "ReadyTime"] : strcontains(aws_cloudwatch_dashboard.all[0].dashboard_body, metric)])
    error_message = "The dashboard shows our own metrics."
  }
}

run "all_of_it" {
  command = plan

  variables {
    monitoring = {
      log_retention_days = 7
      tracing            = false
      dashboard          = false
      alarm_topic_arn    = "arn:aws:sns:eu-central-1:123456789012:alarms"
      monthly_budget_usd = 20
    }
  }

  assert {
    condition     = aws_cloudwatch_log_group.stream.retention_in_days == 7
    error_message = "Logs are kept as long as asked."
  }

  assert {
    condition     = aws_lambda_function.stream.tracing_config[0].mode == "PassThrough"
    error_message = "X-Ray is off."
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.all) == 0
    error_message = "The dashboard is off."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.all : alarm.alarm_actions == toset(["arn:aws:sns:eu-central-1:123456789012:alarms"])])
    error_message = "Alarms go to the topic."
  }

  assert {
    condition     = aws_budgets_budget.monthly[0].limit_amount == "20" && alltrue([for told in aws_budgets_budget.monthly[0].notification : told.subscriber_sns_topic_arns == toset(["arn:aws:sns:eu-central-1:123456789012:alarms"])])
    error_message = "The budget tells the topic."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.stream.policy, "xray")
    error_message = "Without traces there is no right to write them."
  }
}
