# Environments that are kept awake: a fixed number, or one that follows use or the clock.

locals {
  provisioned_count = var.provisioned_concurrency == null ? 0 : 1
  provisioned_max   = try(coalesce(var.provisioned_concurrency.maximum, var.provisioned_concurrency.minimum), 0)
  schedule          = { for entry in try(var.provisioned_concurrency.schedule, []) : "${entry.when} ${entry.timezone}" => entry }
  scaled            = local.provisioned_count == 1 && (local.provisioned_max > try(var.provisioned_concurrency.minimum, 0) || length(local.schedule) > 0)
  scaled_count      = local.scaled ? 1 : 0
}

resource "aws_lambda_provisioned_concurrency_config" "fixed" {
  count                             = local.provisioned_count - local.scaled_count
  function_name                     = aws_lambda_function.stream.function_name
  qualifier                         = aws_lambda_alias.stream.name
  provisioned_concurrent_executions = var.provisioned_concurrency.minimum
}

# The first number; from then on it is the autoscaler's.
resource "aws_lambda_provisioned_concurrency_config" "scaled" {
  count                             = local.scaled_count
  function_name                     = aws_lambda_function.stream.function_name
  qualifier                         = aws_lambda_alias.stream.name
  provisioned_concurrent_executions = var.provisioned_concurrency.minimum

  lifecycle {
    ignore_changes = [provisioned_concurrent_executions]
  }
}

resource "aws_appautoscaling_target" "stream" {
  count              = local.scaled_count
  service_namespace  = "lambda"
  scalable_dimension = "lambda:function:ProvisionedConcurrency"
  resource_id        = "function:${local.stream_name}:${local.alias}"
  min_capacity       = var.provisioned_concurrency.minimum
  max_capacity       = local.provisioned_max

  lifecycle {
    ignore_changes = [min_capacity, max_capacity] # A schedule moves them.
  }

  depends_on = [aws_lambda_provisioned_concurrency_config.scaled]
}

resource "aws_appautoscaling_policy" "use" {
  count              = local.scaled_count
  name               = "${local.stream_name}-use"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.stream[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.stream[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.stream[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value = var.provisioned_concurrency.target

    predefined_metric_specification {
      predefined_metric_type = "LambdaProvisionedConcurrencyUtilization"
    }
  }
}

resource "aws_appautoscaling_scheduled_action" "clock" {
  for_each           = local.scaled ? local.schedule : {}
  name               = "${local.stream_name}-${substr(sha256(each.key), 0, 8)}"
  service_namespace  = aws_appautoscaling_target.stream[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.stream[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.stream[0].resource_id
  schedule           = each.value.when
  timezone           = each.value.timezone

  scalable_target_action {
    min_capacity = each.value.minimum
    max_capacity = each.value.maximum
  }
}
