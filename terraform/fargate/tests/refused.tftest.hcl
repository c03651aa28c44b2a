# What variables.tf refuses: in each run every value named below breaks one rule, and only that one. The module is
# variables.tf alone, so that no run starts the provider.

variables {
  image          = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/firebrick@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  vpc            = { id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], public_subnet_ids = ["subnet-3", "subnet-4"] }
  balancer       = { plain_http = true, allowed_cidrs = ["10.0.0.0/16"] }
  api_key_secret = "firebrick/api-key"
}

run "empty_or_below" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    name               = ""
    region             = ""
    tags               = { "aws:x" = "reserved" }
    image              = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/firebrick:latest"
    architecture       = ""
    task               = { vcpu = 3 }
    environment        = { PATH = "/bin" }
    scaling            = { minimum = -1 }
    vpc                = { id = "subnet-1", subnet_ids = ["subnet-1", "subnet-2"] }
    api_key_version    = 0
    log_retention_days = 2
    kms_key_arn        = "alias/mine"
  }

  expect_failures = [var.name, var.region, var.tags, var.image, var.architecture, var.task, var.environment, var.scaling, var.vpc, var.api_key_version, var.log_retention_days, var.kms_key_arn]
}

run "memory_that_fargate_hasnt_got" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    task        = { vcpu = 4, memory_mb = 4096 }
    scaling     = { minimum = 2, maximum = 1 }
    vpc         = { id = "vpc-1", subnet_ids = ["subnet-1"] }
    environment = { FIREBRICK_SLOTS = "2" }
  }

  expect_failures = [var.task, var.scaling, var.vpc, var.environment]
}

run "a_step_that_fargate_hasnt_got" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    task    = { vcpu = 8, memory_mb = 17408 }
    scaling = { minimum = 0 }
    vpc     = { id = "vpc-1", subnet_ids = ["subnet-1", "vpc-2"] }
  }

  expect_failures = [var.task, var.scaling, var.vpc]
}

run "slots" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    task    = { slots = 0 }
    scaling = { cpu_percent = 5 }
    vpc     = { id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], public_subnet_ids = ["subnet-3"] }
  }

  expect_failures = [var.task, var.scaling, var.vpc]
}

run "queue" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    task    = { queue = 1.5 }
    scaling = { requests_per_minute = 0 }
  }

  expect_failures = [var.task, var.scaling]
}

run "answers" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    task = { answer_s = 3601 }
  }

  expect_failures = [var.task]
}

run "a_certificate_that_is_none" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { certificate_arn = "mine", allowed_cidrs = ["10.0.0.0/16"] }
  }

  expect_failures = [var.balancer]
}

run "the_internet_without_tls" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { internal = false, plain_http = true, allowed_cidrs = ["0.0.0.0/0"] }
  }

  expect_failures = [var.balancer]
}

run "the_internet_without_subnets" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { internal = false, certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1", allowed_cidrs = ["0.0.0.0/0"] }
    vpc      = { id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"] }
  }

  expect_failures = [var.balancer]
}

run "tls_and_none" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { plain_http = true, certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1", allowed_cidrs = ["10.0.0.0/16"] }
  }

  expect_failures = [var.balancer]
}

run "nobody_comes_in" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { plain_http = true }
  }

  expect_failures = [var.balancer]
}

run "no_range" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { plain_http = true, allowed_cidrs = ["10.0.0.0"] }
  }

  expect_failures = [var.balancer]
}

run "clients_certificates_without_tls" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { plain_http = true, allowed_cidrs = ["10.0.0.0/16"], client_ca = { bucket = "b", key = "k" } }
  }

  expect_failures = [var.balancer]
}

run "others_beside_the_router" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { plain_http = true, allowed_cidrs = ["10.0.0.0/16"] }
    router   = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream:live", url_auth = "NONE" }
  }

  expect_failures = [var.balancer]
}

run "a_router_without_a_key" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    api_key_secret = null
    balancer       = {}
    router         = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream:live", url_auth = "NONE" }
  }

  expect_failures = [var.api_key_secret]
}

run "a_router_to_nowhere" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = {}
    router   = { function_url = "http://example.org/", function = "firebrick-stream:live", url_auth = "NONE" }
  }

  expect_failures = [var.router]
}

run "a_router_to_a_function_without_alias" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = {}
    router   = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream", url_auth = "NONE" }
  }

  expect_failures = [var.router]
}

run "a_router_that_signs_for_everybody" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = {}
    router   = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream:live" }
  }

  expect_failures = [var.router]
}

run "more_than_all" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = {}
    router   = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream:live", url_auth = "NONE", fargate_percent = 101 }
  }

  expect_failures = [var.router]
}

run "requests_for_no_task" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = {}
    scaling  = { minimum = 0, maximum = 0 }
    router   = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream:live", url_auth = "NONE", fargate_percent = 1 }
  }

  expect_failures = [var.router]
}

run "a_key_in_place_of_its_hash" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = {}
    router   = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream:live", url_auth = "NONE", api_key_sha256 = "secret" }
  }

  expect_failures = [var.router]
}

run "a_certificate_elsewhere" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = {}
    router   = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream:live", url_auth = "NONE", domain = { name = "llm.example.org", certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1" } }
  }

  expect_failures = [var.router]
}

run "an_auth_that_isnt" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = {}
    router   = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream:live", url_auth = "KEY", api_key_sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" }
  }

  expect_failures = [var.router]
}

run "neither_tls_nor_plain_http" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { allowed_cidrs = ["10.0.0.0/16"] }
  }

  expect_failures = [var.balancer]
}

run "a_secrets_arn" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    api_key_secret = "arn:aws:secretsmanager"
  }

  expect_failures = [var.api_key_secret]
}

run "a_certificate_that_the_router_would_refuse" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    balancer = { certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1" }
    router   = { function_url = "https://abc.lambda-url.eu-central-1.on.aws/", function = "firebrick-stream:live", url_auth = "NONE" }
  }

  expect_failures = [var.balancer]
}
