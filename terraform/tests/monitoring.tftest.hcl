# Alarms, dashboard, budget, names and tags.

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

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.all)) == toset(["stream-errors", "stream-throttles", "stream-5xx"])
    error_message = "Without a worker nothing of it is watched."
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.all) == 1 && length(aws_budgets_budget.monthly) == 0
    error_message = "There is a dashboard by default, and no budget."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.all : length(coalesce(alarm.alarm_actions, [])) == 0 && alarm.treat_missing_data == "notBreaching"])
    error_message = "Alarms must be quiet while nobody calls, and tell nobody who wasn't named."
  }
}

run "with_everything" {
  command = plan

  variables {
    name     = "mine"
    url_auth = "NONE"
    worker   = { timeout_s = 60 }
    vpc      = { id = "vpc-1", subnet_ids = ["subnet-1"], route_table_ids = ["rtb-1"] }
    monitoring = {
      alarm_topic_arn    = "arn:aws:sns:eu-central-1:123456789012:alarms"
      monthly_budget_usd = 12.5
      budget_email       = "you@example.org"
    }
    provisioned_concurrency = { minimum = 1, maximum = 2 }
  }

  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.all : alarm.alarm_actions == toset([var.monitoring.alarm_topic_arn]) && alarm.ok_actions == alarm.alarm_actions
    ])
    error_message = "Every alarm must tell the topic when it begins and ends."
  }

  assert {
    condition = alltrue([
      aws_cloudwatch_metric_alarm.all["dead-letters"].metric_name == "ApproximateNumberOfMessagesVisible",
      aws_cloudwatch_metric_alarm.all["dead-letters"].dimensions == tomap({ QueueName = aws_sqs_queue.dead[0].name }),
      aws_cloudwatch_metric_alarm.all["dead-letters"].threshold == 0,
      aws_cloudwatch_metric_alarm.all["dead-letters"].comparison_operator == "GreaterThanThreshold",
    ])
    error_message = "One dead letter must raise an alarm."
  }

  assert {
    condition = alltrue([
      aws_cloudwatch_metric_alarm.all["queue-age"].threshold == aws_sqs_queue.jobs[0].visibility_timeout_seconds,
      aws_cloudwatch_metric_alarm.all["queue-age"].dimensions == tomap({ QueueName = aws_sqs_queue.jobs[0].name }),
    ])
    error_message = "Jobs that wait for longer than a try must raise an alarm."
  }

  assert {
    condition = alltrue([
      for widget in jsondecode(aws_cloudwatch_dashboard.all[0].dashboard_body).widgets :
      widget.properties.region == "eu-central-1" && length(widget.properties.metrics) > 0 && widget.x + widget.width <= 24
    ])
    error_message = "Each panel must show something, in CloudWatch's 24 columns."
  }

  assert {
    condition = alltrue([
      for metric in ["FirstTokenTime", "DecodeTokensPerSecond", "PromptTokens", "CompletionTokens", "ColdStart", "QueueWait", "ReadyTime", "RestoreTime"] :
      strcontains(aws_cloudwatch_dashboard.all[0].dashboard_body, "\"${metric}\"")
    ])
    error_message = "The dashboard must show our own metrics."
  }

  assert {
    condition = alltrue([
      for name in ["mine-stream", "mine-worker", "mine-jobs", "mine-dead"] : strcontains(aws_cloudwatch_dashboard.all[0].dashboard_body, "\"${name}\"")
    ])
    error_message = "The dashboard must show both functions and both queues."
  }

  assert {
    condition     = aws_budgets_budget.monthly[0].limit_amount == "12.5" && aws_budgets_budget.monthly[0].limit_unit == "USD"
    error_message = "The budget is the user's."
  }

  assert {
    condition = { for notification in aws_budgets_budget.monthly[0].notification : notification.notification_type => notification.threshold } == {
      ACTUAL = 80, FORECASTED = 100
    }
    error_message = "The budget must tell before it is used up."
  }

  assert {
    condition = alltrue([
      for notification in aws_budgets_budget.monthly[0].notification :
      notification.subscriber_email_addresses == toset(["you@example.org"]) && notification.subscriber_sns_topic_arns == toset([var.monitoring.alarm_topic_arn])
    ])
    error_message = "The budget must tell address and topic."
  }

  assert {
    condition = alltrue([for name in concat(
      [aws_lambda_function.stream.function_name, aws_lambda_function.worker[0].function_name, aws_iam_role.stream.name, aws_iam_role.worker[0].name],
      [aws_ecr_repository.images[0].name, aws_sqs_queue.jobs[0].name, aws_sqs_queue.dead[0].name, aws_s3_bucket.input[0].bucket, aws_s3_bucket.results[0].bucket],
      [aws_secretsmanager_secret.api_key[0].name, aws_cloudformation_stack.anybody_invokes_by_the_url[0].name, aws_budgets_budget.monthly[0].name],
      [aws_security_group.functions[0].name, aws_security_group.endpoints[0].name, aws_cloudwatch_dashboard.all[0].dashboard_name],
      [aws_appautoscaling_policy.use[0].name, trimprefix(aws_cloudwatch_log_group.stream.name, "/aws/lambda/"), aws_vpc_endpoint.s3[0].tags["Name"]],
      values(aws_cloudwatch_metric_alarm.all)[*].alarm_name, values(aws_vpc_endpoint.service)[*].tags["Name"],
    ) : startswith(name, "mine")])
    error_message = "Every name must begin with the deployment's."
  }

  # The provider of these tests isn't the configuration's, so what that puts on every resource is read.
  assert {
    condition     = can(regex("default_tags \\{\\s+tags = merge\\(\\{ Project = var\\.name \\}, var\\.tags\\)", file("${path.module}/versions.tf")))
    error_message = "Every resource must have the project's tag and the user's."
  }
}

run "without_anything" {
  command = plan

  variables {
    monitoring = { dashboard = false, tracing = false }
  }

  assert {
    condition     = length(aws_cloudwatch_dashboard.all) == 0
    error_message = "dashboard = false must make none."
  }

  assert {
    condition     = aws_lambda_function.stream.tracing_config[0].mode == "PassThrough" && length(aws_budgets_budget.monthly) == 0
    error_message = "Neither traces nor a budget were asked for."
  }
}
