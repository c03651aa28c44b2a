# Seeing it: alarms, a dashboard over Lambda's metrics and ours, a budget.

locals {
  metrics_namespace = "Firebrick"
  alarm_actions     = compact([var.monitoring.alarm_topic_arn])

  # name → what is watched; every alarm is quiet while nobody calls.
  stream_alarms = {
    stream-errors = {
      description = "The stream function failed or timed out."
      namespace   = "AWS/Lambda", metric = "Errors", statistic = "Sum", threshold = 0, periods = 1
      dimensions  = { FunctionName = local.stream_name }
    }
    stream-throttles = {
      description = "Callers got a 429, because as many environments run as may."
      namespace   = "AWS/Lambda", metric = "Throttles", statistic = "Sum", threshold = 0, periods = 3
      dimensions  = { FunctionName = local.stream_name }
    }
    stream-5xx = {
      description = "The function URL answered with 5xx."
      namespace   = "AWS/Lambda", metric = "Url5xxCount", statistic = "Sum", threshold = 0, periods = 1
      dimensions  = { FunctionName = local.stream_name }
    }
  }
  worker_alarms = var.worker == null ? {} : {
    worker-errors = {
      description = "The worker failed or timed out."
      namespace   = "AWS/Lambda", metric = "Errors", statistic = "Sum", threshold = 0, periods = 3
      dimensions  = { FunctionName = local.worker_name }
    }
    queue-age = {
      description = "The oldest job has waited for longer than it takes to try one: more come in than are answered."
      namespace   = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", statistic = "Maximum"
      threshold   = 6 * var.worker.timeout_s, periods = 3
      dimensions  = { QueueName = local.queue_name }
    }
    dead-letters = {
      description = "A job was given up; the dead-letter queue holds it for 14 days."
      namespace   = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", statistic = "Maximum", threshold = 0, periods = 1
      dimensions  = { QueueName = local.dead_name }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "all" {
  for_each            = merge(local.stream_alarms, local.worker_alarms)
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions

  depends_on = [terraform_data.builder]
}

locals {
  # Each: title, unit's label, lines of [namespace, metric, dimension, value, {stat, label}].
  own = [for name in local.function_names : ["service", name]]
  panels = concat(
    [
      {
        title = "First token, ms"
        lines = flatten([for service in local.own : [for stat in ["p50", "p95"] :
        { line = [local.metrics_namespace, "FirstTokenTime", service[0], service[1], { stat = stat, label = "${service[1]} ${stat}" }] }]])
      },
      {
        title = "Tokens a second of one answer"
        lines = [for service in local.own :
        { line = [local.metrics_namespace, "DecodeTokensPerSecond", service[0], service[1], { stat = "p50", label = service[1] }] }]
      },
      {
        title = "Tokens"
        lines = flatten([for service in local.own : [for metric in ["PromptTokens", "CompletionTokens"] :
        { line = [local.metrics_namespace, metric, service[0], service[1], { stat = "Sum", label = "${service[1]} ${metric}" }] }]])
      },
      {
        title = "Estimated cost of answers, US dollars"
        lines = [for service in local.own :
        { line = [local.metrics_namespace, "EstimatedCost", service[0], service[1], { stat = "Sum", label = service[1] }] }]
      },
      {
        title = "Answers, refusals, failures, cold starts"
        lines = flatten([for service in local.own : [for metric in ["Answers", "Refusals", "Failures", "ColdStart"] :
        { line = [local.metrics_namespace, metric, service[0], service[1], { stat = "Sum", label = "${service[1]} ${metric}" }] }]])
      },
      {
        title = "Start, ms"
        lines = flatten([for service in local.own : [for metric in ["ReadyTime", "RestoreTime"] :
        { line = [local.metrics_namespace, metric, service[0], service[1], { stat = "Maximum", label = "${service[1]} ${metric}" }] }]])
      },
      {
        title = "Wait before the answering begins, ms"
        lines = [for service in local.own :
        { line = [local.metrics_namespace, "QueueWait", service[0], service[1], { stat = "p95", label = service[1] }] }]
      },
      {
        title = "Invocations, errors, throttles"
        lines = flatten([for name in local.function_names : [for metric in ["Invocations", "Errors", "Throttles"] :
        { line = ["AWS/Lambda", metric, "FunctionName", name, { stat = "Sum", label = "${name} ${metric}" }] }]])
      },
      {
        title = "Environments at a time"
        lines = [for name in local.function_names :
        { line = ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", name, { stat = "Maximum", label = name }] }]
      },
    ],
    var.worker == null ? [] : [
      {
        title = "Jobs that wait, and dead letters"
        lines = [for queue in [local.queue_name, local.dead_name] :
        { line = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue, { stat = "Maximum", label = queue }] }]
      },
    ],
  )
}

resource "aws_cloudwatch_dashboard" "all" {
  count          = var.monitoring.dashboard ? 1 : 0
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [for index, panel in local.panels : {
      type   = "metric"
      x      = index % 3 * 8
      y      = floor(index / 3) * 6
      width  = 8
      height = 6
      properties = {
        title   = panel.title
        region  = local.region
        period  = 60
        view    = "timeSeries"
        metrics = panel.lines[*].line
      }
    }]
  })

  depends_on = [terraform_data.builder]
}

# The account's spending on Lambda as a whole: by tags a budget counts only where they were activated for billing.
resource "aws_budgets_budget" "monthly" {
  count        = var.monitoring.monthly_budget_usd == null ? 0 : 1
  name         = "${var.name}-lambda"
  budget_type  = "COST"
  limit_amount = tostring(var.monitoring.monthly_budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "Service"
    values = ["AWS Lambda"]
  }

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }
    content {
      notification_type          = notification.key
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = compact([var.monitoring.budget_email])
      subscriber_sns_topic_arns  = local.alarm_actions
    }
  }

  depends_on = [terraform_data.builder]
}
