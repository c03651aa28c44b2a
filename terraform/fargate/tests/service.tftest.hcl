# The tasks and who comes in.

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

override_data {
  target = data.aws_secretsmanager_secret.given
  values = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:firebrick/api-key-AbCdEf" }
}

override_data {
  target = data.aws_ec2_managed_prefix_list.cloudfront
  values = { id = "pl-0123456789abcdef0" }
}

variables {
  region   = "eu-central-1"
  image    = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/firebrick@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  vpc      = { id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], public_subnet_ids = ["subnet-3", "subnet-4"] }
  balancer = { plain_http = true, allowed_cidrs = ["10.0.0.0/16"] }
}

run "the_container_is_as_restricted_as_it_can_be" {
  command = plan

  assert {
    condition     = local.container.image == var.image && !can(local.container.command) && !can(local.container.entryPoint)
    error_message = "The image must run as it is."
  }

  assert {
    condition     = local.container.readonlyRootFilesystem && local.container.user == "65534:65534" && local.container.linuxParameters.capabilities.drop == ["ALL"]
    error_message = "Read-only root, nobody, no capabilities."
  }

  assert {
    condition     = aws_ecs_task_definition.service.task_role_arn == null
    error_message = "The server needs nothing from AWS, so its task has no role."
  }

  assert {
    condition     = !aws_ecs_service.service.network_configuration[0].assign_public_ip
    error_message = "Tasks have no public address."
  }

  assert {
    condition = local.environment == {
      FIREBRICK_HOST             = "0.0.0.0"
      FIREBRICK_KEEP_ALIVE_S     = "325"
      FIREBRICK_QUEUE            = "16"
      FIREBRICK_SHUTDOWN_GRACE_S = "110"
      FIREBRICK_SLOTS            = "8"
      OMP_NUM_THREADS            = "4"
    }
    error_message = "The environment is not that of a server that runs on."
  }
}

run "nobody_cuts_an_answer_and_nothing_closes_before_the_balancer" {
  command = plan

  variables {
    task = { answer_s = 900 }
  }

  assert {
    condition     = aws_lb.service.idle_timeout == 910 && aws_lb_target_group.service.deregistration_delay == "900"
    error_message = "A silent answer of 900 s must be possible, and be finished by a task that goes."
  }

  assert {
    condition     = tonumber(local.environment.FIREBRICK_KEEP_ALIVE_S) > aws_lb.service.idle_timeout
    error_message = "The server must keep connections for longer than the balancer."
  }

  assert {
    condition     = tonumber(local.environment.FIREBRICK_SHUTDOWN_GRACE_S) < local.container.stopTimeout
    error_message = "The server must be at its end before it is killed."
  }
}

run "plain_http_stays_within_the_vpc" {
  command = plan

  assert {
    condition     = aws_lb.service.internal && aws_lb_listener.service.protocol == "HTTP" && aws_lb_listener.service.port == 80
    error_message = "Without a certificate the balancer is internal."
  }

  assert {
    condition     = toset(keys(aws_vpc_security_group_ingress_rule.callers)) == toset(["10.0.0.0/16"]) && length(aws_vpc_security_group_ingress_rule.router) == 0
    error_message = "Only those come in who were named."
  }
}

run "with_a_certificate_it_is_tls_on_the_internet_and_clients_show_theirs" {
  command = plan

  variables {
    balancer = {
      certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
      internal        = false
      allowed_cidrs   = ["0.0.0.0/0"]
      client_ca       = { bucket = "authorities", key = "clients.pem" }
    }
  }

  assert {
    condition     = aws_lb_listener.service.protocol == "HTTPS" && aws_lb_listener.service.port == 443 && aws_lb_listener.service.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    error_message = "TLS 1.2 or 1.3 it must be."
  }

  assert {
    condition     = aws_lb_listener.service.mutual_authentication[0].mode == "verify" && aws_lb_trust_store.clients[0].ca_certificates_bundle_s3_bucket == "authorities"
    error_message = "Clients must be verified."
  }

  assert {
    condition     = toset(aws_lb.service.subnets) == toset(["subnet-3", "subnet-4"])
    error_message = "It must be in the public subnets."
  }
}

run "who_starts_tasks_may_do_nothing_else" {
  command = plan

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Sid => statement.Resource } == {
      SignIn        = "*"
      FetchTheImage = "arn:aws:ecr:eu-central-1:123456789012:repository/firebrick"
      Log           = "arn:aws:logs:eu-central-1:123456789012:log-group:/ecs/firebrick-service:*"
      ApiKey        = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:firebrick/service-api-key-??????"
    }
    error_message = "More than this image, this log and this key."
  }
}

run "tasks_follow_their_use" {
  command = plan

  variables {
    scaling = { minimum = 2, maximum = 6, requests_per_minute = 100 }
  }

  assert {
    condition     = aws_appautoscaling_target.service.min_capacity == 2 && aws_appautoscaling_target.service.max_capacity == 6
    error_message = "From 2 to 6."
  }

  assert {
    condition     = length(aws_appautoscaling_policy.cpu) == 0 && aws_appautoscaling_policy.requests[0].target_tracking_scaling_policy_configuration[0].target_value == 100
    error_message = "By requests, since those were asked for."
  }
}

run "off_is_no_task_and_no_policy" {
  command = plan

  variables {
    scaling = { minimum = 0, maximum = 0 }
  }

  assert {
    condition     = aws_ecs_service.service.desired_count == 0 && length(aws_appautoscaling_policy.cpu) == 0
    error_message = "Off is off."
  }
}

run "arm64" {
  command = plan

  variables {
    architecture = "arm64"
    task         = { vcpu = 0.5, memory_mb = 2048, slots = 1 }
  }

  assert {
    condition     = aws_ecs_task_definition.service.runtime_platform[0].cpu_architecture == "ARM64" && aws_ecs_task_definition.service.cpu == "512" && local.environment.OMP_NUM_THREADS == "1"
    error_message = "Half a processor of the other kind."
  }
}

run "a_key_that_is_there_already" {
  command = plan

  variables {
    api_key_secret = "firebrick/api-key"
  }

  assert {
    condition     = one(local.container.secrets) == { name = "FIREBRICK_API_KEY", valueFrom = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:firebrick/api-key-AbCdEf" }
    error_message = "The key must come from Secrets Manager."
  }

  assert {
    condition     = length(aws_secretsmanager_secret.api_key) == 0
    error_message = "No second one is made."
  }
}
