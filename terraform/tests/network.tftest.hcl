# Subnets of the user's, and the endpoints in them.

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
    condition = sum([
      length(aws_security_group.functions), length(aws_security_group.endpoints), length(aws_vpc_endpoint.service), length(aws_vpc_endpoint.s3),
      length(aws_vpc_security_group_egress_rule.functions), length(aws_vpc_security_group_ingress_rule.endpoints),
    ]) == 0
    error_message = "Without a VPC there must be nothing of it."
  }
}

run "with_all_endpoints" {
  command = plan

  variables {
    url_auth = "NONE"
    worker   = {}
    vpc      = { id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], route_table_ids = ["rtb-1"] }
  }

  assert {
    condition = alltrue([
      for function in [aws_lambda_function.stream, aws_lambda_function.worker[0]] : function.vpc_config[0].subnet_ids == toset(["subnet-1", "subnet-2"])
    ])
    error_message = "Both functions must be in the subnets."
  }

  assert {
    condition = { for name, endpoint in aws_vpc_endpoint.service : name => endpoint.service_name } == {
      secretsmanager = "com.amazonaws.eu-central-1.secretsmanager"
      xray           = "com.amazonaws.eu-central-1.xray"
      sqs            = "com.amazonaws.eu-central-1.sqs"
    }
    error_message = "The key, the traces and documents that go on need an endpoint each, and nothing else does."
  }

  assert {
    condition = alltrue([
      for endpoint in aws_vpc_endpoint.service : endpoint.private_dns_enabled && endpoint.subnet_ids == toset(["subnet-1", "subnet-2"])
    ])
    error_message = "Endpoints must be where the functions are, under AWS's names."
  }

  assert {
    condition     = aws_vpc_endpoint.s3[0].vpc_endpoint_type == "Gateway" && aws_vpc_endpoint.s3[0].route_table_ids == toset(["rtb-1"])
    error_message = "S3 must be reached by the subnets' route tables."
  }

  assert {
    condition = jsondecode(aws_vpc_endpoint.s3[0].policy).Statement[0].Resource == [
      "arn:aws:s3:::firebrick-results-123456789012-eu-central-1", "arn:aws:s3:::firebrick-results-123456789012-eu-central-1/*",
    ]
    error_message = "Through S3's endpoint there must be nothing but our results,"
  }

  assert {
    condition = one([for statement in jsondecode(aws_vpc_endpoint.s3[0].policy).Statement : [statement.Action, statement.Resource] if statement.Sid == "DocumentsOnly"]) == [
      ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"],
      ["arn:aws:s3:::firebrick-input-123456789012-eu-central-1", "arn:aws:s3:::firebrick-input-123456789012-eu-central-1/documents/*"],
    ]
    error_message = "and documents, to be read."
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.functions[0].from_port == 443 && aws_vpc_security_group_egress_rule.functions[0].to_port == 443
    error_message = "Only HTTPS may go out."
  }

  assert {
    condition = alltrue([
      aws_vpc_security_group_ingress_rule.endpoints[0].from_port == 443,
      aws_vpc_security_group_ingress_rule.endpoints[0].to_port == 443,
      aws_vpc_security_group_ingress_rule.endpoints[0].cidr_ipv4 == null,
    ])
    error_message = "Only HTTPS may come to the endpoints, and only from a security group."
  }
}

run "without_traces_and_key" {
  command = plan

  variables {
    vpc        = { id = "vpc-1", subnet_ids = ["subnet-1"] }
    monitoring = { tracing = false }
  }

  assert {
    condition     = length(aws_vpc_endpoint.service) + length(aws_vpc_endpoint.s3) + length(aws_security_group.endpoints) == 0
    error_message = "Endpoints that nothing needs cost money."
  }

  assert {
    condition     = length(aws_lambda_function.stream.vpc_config) == 1
    error_message = "The function must be in the subnet."
  }
}

run "with_endpoints_that_are_there" {
  command = plan

  variables {
    url_auth = "NONE"
    worker   = {}
    vpc      = { id = "vpc-1", subnet_ids = ["subnet-1"], endpoints = false }
  }

  assert {
    condition     = length(aws_vpc_endpoint.service) + length(aws_vpc_endpoint.s3) + length(aws_security_group.endpoints) == 0
    error_message = "endpoints = false must make none."
  }

  assert {
    condition     = length(aws_security_group.functions) == 1
    error_message = "The functions need their security group nevertheless."
  }
}
