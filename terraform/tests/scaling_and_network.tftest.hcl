# Provisioned environments: none, a fixed number, by use, by the clock. And the VPC with its endpoints.

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
    condition     = length(aws_lambda_provisioned_concurrency_config.fixed) + length(aws_lambda_provisioned_concurrency_config.scaled) + length(aws_appautoscaling_target.stream) == 0
    error_message = "Nothing is kept awake."
  }

  assert {
    condition     = length(aws_security_group.functions) + length(aws_vpc_endpoint.service) + length(aws_vpc_endpoint.s3) == 0 && length(aws_lambda_function.stream.vpc_config) == 0
    error_message = "There is no VPC."
  }
}

run "fixed" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 3 }
  }

  assert {
    condition     = aws_lambda_provisioned_concurrency_config.fixed[0].provisioned_concurrent_executions == 3 && aws_lambda_provisioned_concurrency_config.fixed[0].qualifier == "live"
    error_message = "Three environments of the alias are kept awake."
  }

  assert {
    condition     = length(aws_appautoscaling_target.stream) == 0
    error_message = "A fixed number needs no autoscaler."
  }
}

run "by_use" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 1, maximum = 4, target = 0.5 }
  }

  assert {
    condition     = length(aws_lambda_provisioned_concurrency_config.fixed) == 0 && length(aws_lambda_provisioned_concurrency_config.scaled) == 1
    error_message = "The number is the autoscaler's."
  }

  assert {
    condition     = aws_appautoscaling_target.stream[0].min_capacity == 1 && aws_appautoscaling_target.stream[0].max_capacity == 4
    error_message = "The autoscaler has its bounds."
  }

  assert {
    condition     = aws_appautoscaling_target.stream[0].resource_id == "function:firebrick-stream:live"
    error_message = "The alias is scaled."
  }

  assert {
    condition     = aws_appautoscaling_policy.use[0].target_tracking_scaling_policy_configuration[0].target_value == 0.5
    error_message = "The target is the one asked for."
  }

  assert {
    condition     = length(aws_appautoscaling_scheduled_action.clock) == 0
    error_message = "There is no schedule."
  }
}

run "by_the_clock" {
  command = plan

  variables {
    provisioned_concurrency = {
      minimum  = 2
      schedule = [{ when = "cron(0 19 ? * * *)", minimum = 0, maximum = 0, timezone = "Europe/Berlin" }]
    }
  }

  assert {
    condition     = length(aws_appautoscaling_scheduled_action.clock) == 1 && alltrue([for all in aws_appautoscaling_scheduled_action.clock : all.timezone == "Europe/Berlin" && all.scalable_target_action[0].max_capacity == "0"])
    error_message = "At night nothing is kept awake."
  }
}

run "private" {
  command = plan

  variables {
    url_auth = "NONE"
    worker   = {}
    vpc = {
      id              = "vpc-1"
      subnet_ids      = ["subnet-1", "subnet-2"]
      route_table_ids = ["rtb-1"]
    }
  }

  assert {
    condition     = aws_lambda_function.stream.vpc_config[0].subnet_ids == toset(["subnet-1", "subnet-2"]) && aws_lambda_function.worker[0].vpc_config[0].subnet_ids == toset(["subnet-1", "subnet-2"])
    error_message = "Both functions are in the VPC."
  }

  assert {
    condition     = toset(keys(aws_vpc_endpoint.service)) == toset(["secretsmanager", "xray"]) && length(aws_vpc_endpoint.s3) == 1
    error_message = "The functions reach what they need."
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.functions[0].from_port == 443 && aws_vpc_security_group_ingress_rule.endpoints[0].from_port == 443
    error_message = "Nothing but HTTPS."
  }

  assert {
    condition     = toset(jsondecode(aws_vpc_endpoint.s3[0].policy).Statement[0].Resource) == toset(["arn:aws:s3:::firebrick-results-123456789012-eu-central-1", "arn:aws:s3:::firebrick-results-123456789012-eu-central-1/results/*"])
    error_message = "Through S3's endpoint there are only our results."
  }
}

run "private_with_a_way_out" {
  command = plan

  variables {
    vpc = {
      id         = "vpc-1"
      subnet_ids = ["subnet-1"]
      endpoints  = false
    }
  }

  assert {
    condition     = length(aws_vpc_endpoint.service) + length(aws_vpc_endpoint.s3) + length(aws_security_group.endpoints) == 0
    error_message = "Endpoints are not wanted."
  }
}
