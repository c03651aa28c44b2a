# How many tasks there are. A processor is busy as long as anybody is being answered, so its use is the part of the time in
# which a task has work; how many slots are taken doesn't show in it.

locals {
  target_id = "service/${var.name}/${local.service_name}"
  scaled    = var.scaling.maximum > var.scaling.minimum
  cpu       = var.scaling.requests_per_minute == null ? coalesce(var.scaling.cpu_percent, 70) : var.scaling.cpu_percent
}

resource "aws_appautoscaling_target" "service" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = local.target_id
  min_capacity       = var.scaling.minimum
  max_capacity       = var.scaling.maximum

  depends_on = [aws_ecs_service.service]
}

resource "aws_appautoscaling_policy" "cpu" {
  count              = local.scaled && local.cpu != null ? 1 : 0
  name               = "${local.service_name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.service.service_namespace
  scalable_dimension = aws_appautoscaling_target.service.scalable_dimension
  resource_id        = aws_appautoscaling_target.service.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = local.cpu
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_policy" "requests" {
  count              = local.scaled && var.scaling.requests_per_minute != null ? 1 : 0
  name               = "${local.service_name}-requests"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.service.service_namespace
  scalable_dimension = aws_appautoscaling_target.service.scalable_dimension
  resource_id        = aws_appautoscaling_target.service.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.scaling.requests_per_minute
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ALBRequestCountPerTarget"
      resource_label         = "${aws_lb.service.arn_suffix}/${aws_lb_target_group.service.arn_suffix}"
    }
  }
}
