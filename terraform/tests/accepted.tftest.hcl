# What variables.tf takes: the smallest and the largest of everything, and null for what has a default.

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

run "nulls_are_the_defaults" {
  command = plan

  variables {
    name                    = null
    tags                    = null
    model_s3_uri            = null
    model_kms_key_arn       = null
    image_uri               = null
    build_arguments         = null
    architecture            = null
    memory_mb               = null
    timeout_s               = null
    tmp_mb                  = null
    environment             = null
    url_auth                = null
    api_key_version         = null
    cors_origins            = null
    reserved_concurrency    = null
    provisioned_concurrency = null
    snap_start              = null
    worker                  = null
    vpc                     = null
    kms_key_arn             = null
    force_destroy           = null
    monitoring = {
      log_retention_days = null
      tracing            = null
      dashboard          = null
      alarm_topic_arn    = null
      monthly_budget_usd = null
      budget_email       = null
    }
  }

  assert {
    condition     = aws_lambda_function.stream.function_name == "firebrick-stream"
    error_message = "The default name isn't firebrick."
  }

  assert {
    condition     = aws_lambda_function.stream.memory_size == 10240 && aws_lambda_function.stream.timeout == 300
    error_message = "The stream function isn't the default one."
  }

  assert {
    condition     = aws_lambda_function.stream.ephemeral_storage[0].size == 512
    error_message = "/tmp isn't 512 MB."
  }

  assert {
    condition     = aws_lambda_function.stream.reserved_concurrent_executions == -1
    error_message = "Without reserved_concurrency nothing is reserved."
  }

  assert {
    condition     = aws_lambda_function_url.stream.authorization_type == "AWS_IAM"
    error_message = "Without url_auth callers must sign."
  }
}

run "the_smallest" {
  command = plan

  variables {
    name                 = "fb"
    region               = "us-gov-west-1"
    tags                 = { "" = "" }
    memory_mb            = 128
    timeout_s            = 3
    tmp_mb               = 512
    api_key_version      = 1
    cors_origins         = ["*"]
    reserved_concurrency = 0
    worker = {
      memory_mb           = 128
      timeout_s           = 3
      batch_size          = 1
      batch_window_s      = 0
      maximum_concurrency = 2
      max_receive_count   = 1
      retention_days      = 1
    }
    vpc        = { id = "vpc-1", subnet_ids = ["subnet-1"], endpoints = false }
    monitoring = { log_retention_days = 1, monthly_budget_usd = 0.01, budget_email = "a@b.c" }
  }

  assert {
    condition     = aws_lambda_function.stream.reserved_concurrent_executions == 0
    error_message = "reserved_concurrency = 0 must stop the function, not set it free."
  }
}

run "the_largest" {
  command = plan

  variables {
    name                    = "a23456789-123456789-1234"
    tags                    = { (join("", [for i in range(128) : "k"])) = "value" }
    build_arguments         = { BASE_IMAGE = "a", BUILDER_IMAGE = "b", LWA_IMAGE = "c", PYTHON_VERSION = "3.12" }
    memory_mb               = 10240
    timeout_s               = 900
    tmp_mb                  = 10240
    environment             = { FIREBRICK_A = "1", POWERTOOLS_B = "2", OMP_C = "3" }
    url_auth                = "NONE"
    api_key_version         = 1000
    cors_origins            = ["https://example.org", "http://localhost:3000"]
    reserved_concurrency    = 10
    provisioned_concurrency = { minimum = 10, maximum = 10, target = 0.9 }
    worker = {
      memory_mb           = 10240
      timeout_s           = 900
      batch_size          = 10000
      batch_window_s      = 300
      maximum_concurrency = 1000
      max_receive_count   = 1000
      retention_days      = 36500
    }
    vpc         = { id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], route_table_ids = ["rtb-1", "rtb-2"] }
    monitoring  = { log_retention_days = 3653, monthly_budget_usd = 12.5, alarm_topic_arn = "arn:aws-cn:sns:cn-north-1:123456789012:a" }
    kms_key_arn = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-1"
  }

  assert {
    condition     = length(aws_s3_bucket.results[0].bucket) <= 63 && length(aws_iam_role.stream.name) <= 64
    error_message = "The longest name makes a name that AWS doesn't take."
  }
}

run "images_of_other_architectures" {
  command = plan

  variables {
    architecture = "arm64"
    image_uri = {
      stream = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/a_b.c@sha256:${sha256("stream")}"
      worker = null
    }
    provisioned_concurrency = {
      minimum  = 1
      maximum  = null
      target   = null
      schedule = [{ when = "at(2027-01-01T00:00:00)", minimum = 0, maximum = 0 }, { when = "rate(1 hour)", minimum = 1, maximum = 1 }]
    }
  }

  assert {
    condition     = aws_lambda_function.stream.architectures == tolist(["arm64"])
    error_message = "The function isn't for the processors of its image."
  }
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
