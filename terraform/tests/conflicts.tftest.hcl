# Values that are right by themselves and can't go together.

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

run "snapshot_with_provisioned_environments" {
  command = plan

  variables {
    snap_start              = true
    provisioned_concurrency = { minimum = 1 }
    monitoring              = { monthly_budget_usd = 10 } # tells nobody
    worker                  = { batch_size = 11 }         # never gathers as many
  }

  expect_failures = [var.snap_start, var.monitoring, var.worker]
}

run "snapshot_with_large_tmp" {
  command = plan

  variables {
    snap_start   = true
    tmp_mb       = 513
    architecture = "arm64" # and no image_uri
    worker       = {}
    vpc          = { id = "vpc-1", subnet_ids = ["subnet-1"] } # and no way to S3
  }

  expect_failures = [var.snap_start, var.architecture, var.vpc]
}

run "more_provisioned_than_reserved" {
  command = plan

  variables {
    reserved_concurrency    = 2
    provisioned_concurrency = { minimum = 3 }
    worker                  = {}
    image_uri               = { stream = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/a@sha256:${sha256("stream")}" } # and none of the worker
    vpc                     = { id = "vpc-1", subnet_ids = ["subnet-1"], route_table_ids = ["subnet-1"] }
  }

  expect_failures = [var.provisioned_concurrency, var.image_uri, var.vpc]
}

run "more_scaled_than_reserved" {
  command = plan

  variables {
    reserved_concurrency    = 2
    provisioned_concurrency = { minimum = 1, maximum = 3 }
    image_uri               = { stream = "123456789012.dkr.ecr.us-east-1.amazonaws.com/a@sha256:${sha256("stream")}" } # in another region
    vpc                     = { id = "vpc-1", subnet_ids = ["eni-1"] }
  }

  expect_failures = [var.provisioned_concurrency, var.image_uri, var.vpc]
}

run "more_scheduled_than_reserved" {
  command = plan

  variables {
    reserved_concurrency = 2
    provisioned_concurrency = {
      minimum  = 1
      schedule = [{ when = "rate(1 hour)", minimum = 1, maximum = 3 }]
    }
  }

  expect_failures = [var.provisioned_concurrency]
}

run "up_to_the_bounds" {
  command = plan

  variables {
    reserved_concurrency = 3
    provisioned_concurrency = {
      minimum  = 1
      maximum  = 3
      schedule = [{ when = "rate(1 hour)", minimum = 1, maximum = 3 }]
    }
    worker     = { batch_size = 11, batch_window_s = 1 }
    vpc        = { id = "vpc-1", subnet_ids = ["subnet-1"], endpoints = false }
    monitoring = { monthly_budget_usd = 10, alarm_topic_arn = "arn:aws:sns:eu-central-1:123456789012:alarms" }
    image_uri = {
      stream = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/a@sha256:${sha256("stream")}"
      worker = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/a@sha256:${sha256("worker")}"
    }
  }

  assert {
    condition     = length(aws_appautoscaling_target.stream) == 1
    error_message = "What just fits must be taken."
  }
}

run "a_snapshot_alone" {
  command = plan

  variables {
    snap_start = true
    tmp_mb     = 512
  }

  assert {
    condition     = aws_lambda_function.stream.snap_start[0].apply_on == "PublishedVersions"
    error_message = "Snapshots are made of published versions."
  }
}
