# The tasks: the stream function's image as it is. The Web Adapter lies in it as an extension that only Lambda starts.

locals {
  container_port = 8080 # AWS_LWA_PORT of the image
  idle_s         = min(4000, var.task.answer_s + 10)
  longest_stop_s = 120 # Fargate's

  environment = merge(
    {
      FIREBRICK_HOST  = "0.0.0.0" # The balancer comes from outside.
      FIREBRICK_QUEUE = tostring(var.task.queue)
      FIREBRICK_SLOTS = tostring(var.task.slots)
      # Longer than the balancer keeps a connection, or it would send a request into one that is being closed.
      FIREBRICK_KEEP_ALIVE_S     = tostring(local.idle_s + 15)
      FIREBRICK_SHUTDOWN_GRACE_S = tostring(local.longest_stop_s - 10)
      # A task may see more processors than it has.
      OMP_NUM_THREADS = tostring(max(1, floor(var.task.vcpu)))
    },
    var.environment,
  )

  container = {
    name                   = "server"
    image                  = var.image
    essential              = true
    user                   = "65534:65534"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] }, initProcessEnabled = true }
    portMappings           = [{ containerPort = local.container_port, protocol = "tcp" }]
    environment            = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]
    secrets                = [{ name = "FIREBRICK_API_KEY", valueFrom = local.secret_arn }]
    stopTimeout            = local.longest_stop_s
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = local.log_name
        "awslogs-region"        = local.region
        "awslogs-stream-prefix" = "server"
        # Else a log that is behind stops the server.
        "mode"            = "non-blocking"
        "max-buffer-size" = "4m"
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "service" {
  # checkov:skip=CKV_AWS_338:How long is a variable, 30 days by default.
  # checkov:skip=CKV_AWS_158:A key of one's own is optional (kms_key_arn).
  name              = local.log_name
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_cluster" "service" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "service" {
  # checkov:skip=CKV_AWS_249:The task has no role at all: the server needs nothing from AWS.
  family                   = local.service_name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.task.vcpu * 1024
  memory                   = var.task.memory_mb
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions    = jsonencode([local.container])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = upper(var.architecture)
  }
}

resource "aws_security_group" "tasks" {
  name        = "${var.name}-tasks"
  description = "Firebrick's tasks: requests from the load balancer, HTTPS out"
  vpc_id      = var.vpc.id
}

resource "aws_vpc_security_group_ingress_rule" "tasks" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "Requests from the load balancer"
  ip_protocol                  = "tcp"
  from_port                    = local.container_port
  to_port                      = local.container_port
  referenced_security_group_id = aws_security_group.balancer.id
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  security_group_id = aws_security_group.tasks.id
  description       = "HTTPS, to fetch the image and the key and to write the log"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_ecs_service" "service" {
  # checkov:skip=CKV_AWS_332:1.4.0 is the latest, and LATEST could be another one tomorrow.
  name                               = local.service_name
  cluster                            = aws_ecs_cluster.service.id
  task_definition                    = aws_ecs_task_definition.service.arn
  desired_count                      = var.scaling.minimum
  launch_type                        = "FARGATE"
  platform_version                   = "1.4.0"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 120 # A large image is fetched before it starts, a large model read.
  availability_zone_rebalancing      = "ENABLED"
  propagate_tags                     = "SERVICE"
  enable_ecs_managed_tags            = true

  # What doesn't come up is taken back, while the old tasks go on.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.vpc.subnet_ids
    security_groups  = [aws_security_group.tasks.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.service.arn
    container_name   = local.container.name
    container_port   = local.container_port
  }

  lifecycle {
    ignore_changes = [desired_count] # The autoscaler moves it.
  }

  depends_on = [aws_lb_listener.service, aws_iam_role_policy.execution, aws_secretsmanager_secret_version.api_key]
}
