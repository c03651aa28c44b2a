# What the optional parts refuse, and parts that exclude each other.

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

run "retention_that_cloudwatch_lacks" {
  command = plan

  variables {
    monitoring = { log_retention_days = 31 }
  }

  expect_failures = [var.monitoring]
}

run "a_topic_that_is_none" {
  command = plan

  variables {
    monitoring = { alarm_topic_arn = "alarms" }
  }

  expect_failures = [var.monitoring]
}

run "a_budget_of_nothing" {
  command = plan

  variables {
    monitoring = { monthly_budget_usd = 0, budget_email = "you@example.org" }
  }

  expect_failures = [var.monitoring]
}

run "an_address_that_is_none" {
  command = plan

  variables {
    monitoring = { monthly_budget_usd = 5, budget_email = "you" }
  }

  expect_failures = [var.monitoring]
}

run "a_budget_that_tells_nobody" {
  command = plan

  variables {
    monitoring = { monthly_budget_usd = 5 }
  }

  expect_failures = [var.monitoring]
}

run "a_key_by_its_alias" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:alias/mine"
  }

  expect_failures = [var.kms_key_arn]
}

run "a_vpc_that_is_none" {
  command = plan

  variables {
    vpc = { id = "mine", subnet_ids = ["subnet-1"] }
  }

  expect_failures = [var.vpc]
}

run "a_vpc_without_subnets" {
  command = plan

  variables {
    vpc = { id = "vpc-1", subnet_ids = [] }
  }

  expect_failures = [var.vpc]
}

run "a_route_table_that_is_none" {
  command = plan

  variables {
    vpc = { id = "vpc-1", subnet_ids = ["subnet-1"], route_table_ids = ["mine"] }
  }

  expect_failures = [var.vpc]
}

run "a_worker_in_a_vpc_without_a_way_to_s3" {
  command = plan

  variables {
    worker = {}
    vpc    = { id = "vpc-1", subnet_ids = ["subnet-1"] }
  }

  expect_failures = [var.vpc]
}

run "large_batches_without_a_window" {
  command = plan

  variables {
    worker = { batch_size = 11 }
  }

  expect_failures = [var.worker]
}

run "worker_memory_below" {
  command = plan

  variables {
    worker = { memory_mb = 127 }
  }

  expect_failures = [var.worker]
}

run "worker_memory_above" {
  command = plan

  variables {
    worker = { memory_mb = 10241 }
  }

  expect_failures = [var.worker]
}

run "provisioned_none" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 0 }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "provisioned_fraction" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 1.5 }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "provisioned_maximum_below" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 2, maximum = 1 }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "provisioned_target_above" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 1, maximum = 2, target = 0.95 }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "provisioned_by_no_clock" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 1, schedule = [{ when = "daily", minimum = 1, maximum = 1 }] }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "a_time_that_says_two_things" {
  command = plan

  variables {
    provisioned_concurrency = { minimum = 1, schedule = [
      { when = "rate(1 day)", minimum = 1, maximum = 1 },
      { when = "rate(1 day)", minimum = 1, maximum = 2 },
    ] }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "a_worker_without_an_image" {
  command = plan

  variables {
    worker    = {}
    image_uri = { stream = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mine@sha256:0000000000000000000000000000000000000000000000000000000000000000" }
  }

  expect_failures = [var.image_uri]
}

run "a_reservation_below" {
  command = plan

  variables {
    reserved_concurrency = -1
  }

  expect_failures = [var.reserved_concurrency]
}

run "a_reservation_of_a_fraction" {
  command = plan

  variables {
    reserved_concurrency = 1.5
  }

  expect_failures = [var.reserved_concurrency]
}
