# What variables.tf refuses: in each run every value named below breaks one rule, and only that one. The module is
# variables.tf alone, so that no run starts the provider.

run "empty_or_below" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    name                 = ""
    region               = ""
    tags                 = { "aws:x" = "reserved" }
    model_dir            = ""
    build_arguments      = { TARGET = "stream" }
    memory_mb            = 127
    timeout_s            = 2
    tmp_mb               = 511
    environment          = { PATH = "/bin" }
    url_auth             = ""
    api_key_version      = 0
    cors_origins         = [""]
    reserved_concurrency = -1
    worker               = { memory_mb = 127 }
    monitoring           = { log_retention_days = 0 }
    kms_key_arn          = ""
  }

  expect_failures = [
    var.name, var.region, var.tags, var.model_dir, var.build_arguments, var.memory_mb, var.timeout_s, var.tmp_mb,
    var.environment, var.url_auth, var.api_key_version, var.cors_origins, var.reserved_concurrency, var.worker,
    var.monitoring, var.kms_key_arn,
  ]
}

run "above" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    name        = "a23456789-123456789-12345"
    tags        = { (join("", [for i in range(129) : "k"])) = "long" }
    memory_mb   = 10241
    timeout_s   = 901
    tmp_mb      = 10241
    environment = { FIREBRICK_API_KEY = "in the state" }
    worker      = { memory_mb = 10241 }
    monitoring  = { log_retention_days = 3654 }
  }

  expect_failures = [var.name, var.tags, var.memory_mb, var.timeout_s, var.tmp_mb, var.environment, var.worker, var.monitoring]
}

run "fractions" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    memory_mb            = 1024.5
    timeout_s            = 60.5
    tmp_mb               = 512.5
    api_key_version      = 1.5
    reserved_concurrency = 1.5
    worker               = { memory_mb = 1024.5 }
    monitoring           = { log_retention_days = 7.5 }
  }

  expect_failures = [
    var.memory_mb, var.timeout_s, var.tmp_mb, var.api_key_version, var.reserved_concurrency, var.worker, var.monitoring,
  ]
}

run "misspelt" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    name         = "Firebrick"
    region       = "Frankfurt"
    environment  = { firebrick_log_level = "debug" }
    url_auth     = "none"
    cors_origins = ["example.org"]
    monitoring   = { alarm_topic_arn = "firebrick-alarms" }
    kms_key_arn  = "arn:aws:kms:eu-central-1:123456789012:alias/mine"
  }

  expect_failures = [
    var.name, var.environment, var.url_auth, var.cors_origins, var.region, var.monitoring, var.kms_key_arn,
  ]
}

run "architecture" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    name         = "ends-"
    architecture = "amd64"
    image_uri    = { stream = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/a@sha256:${sha256("stream")}" }
    cors_origins = ["https://example.org/page"]
    monitoring   = { monthly_budget_usd = 0, budget_email = "you@example.org" }
  }

  expect_failures = [var.name, var.architecture, var.cors_origins, var.monitoring]
}

run "nulls_where_there_must_be_something" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    cors_origins            = [null]
    environment             = { FIREBRICK_RESULTS_BUCKET = null }
    provisioned_concurrency = { minimum = null }
    vpc                     = { id = null, subnet_ids = ["subnet-1"] }
    monitoring              = { monthly_budget_usd = -1, budget_email = "you@example.org" }
  }

  expect_failures = [var.cors_origins, var.environment, var.provisioned_concurrency, var.vpc, var.monitoring]
}

run "images_by_tag" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    name                    = "1st"
    image_uri               = { stream = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/firebrick:latest" }
    provisioned_concurrency = { minimum = 0 }
    vpc                     = { id = "vpc-1", subnet_ids = [] }
    monitoring              = { budget_email = "nobody" }
  }

  expect_failures = [var.name, var.image_uri, var.provisioned_concurrency, var.vpc, var.monitoring]
}

run "images_elsewhere" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    name                    = "a_b"
    image_uri               = { stream = "docker.io/firebrick@sha256:${sha256("stream")}" }
    region                  = null
    provisioned_concurrency = { minimum = 1.5 }
    vpc                     = { id = "vpc-1", subnet_ids = null }
  }

  expect_failures = [var.name, var.image_uri, var.provisioned_concurrency, var.vpc]
}
