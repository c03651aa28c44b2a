# Values that are right by themselves and can't go together.

run "snapshot_with_provisioned_environments" {
  command = plan

  module {
    source = "./tests/refused"
  }

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

  module {
    source = "./tests/refused"
  }

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

  module {
    source = "./tests/refused"
  }

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

  module {
    source = "./tests/refused"
  }

  variables {
    region                  = "eu-central-1"
    reserved_concurrency    = 2
    provisioned_concurrency = { minimum = 1, maximum = 3 }
    image_uri               = { stream = "123456789012.dkr.ecr.us-east-1.amazonaws.com/a@sha256:${sha256("stream")}" } # in another region
    vpc                     = { id = "vpc-1", subnet_ids = ["eni-1"] }
  }

  expect_failures = [var.provisioned_concurrency, var.image_uri, var.vpc]
}

run "more_scheduled_than_reserved" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    reserved_concurrency = 2
    provisioned_concurrency = {
      minimum  = 1
      schedule = [{ when = "rate(1 hour)", minimum = 1, maximum = 3 }]
    }
  }

  expect_failures = [var.provisioned_concurrency]
}
