# One URL in front of both back ends.

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
  region         = "eu-central-1"
  image          = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/firebrick@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  vpc            = { id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], public_subnet_ids = ["subnet-3", "subnet-4"] }
  api_key_secret = "firebrick/api-key"
  router = {
    function_url    = "https://abc.lambda-url.eu-central-1.on.aws/"
    function        = "firebrick-stream:live"
    api_key_sha256  = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    fargate_percent = 25
  }
}

run "iam_to_the_function_and_the_vpc_to_the_service" {
  command = plan

  assert {
    condition     = aws_cloudfront_origin_access_control.function[0].signing_behavior == "always" && aws_cloudfront_origin_access_control.function[0].origin_access_control_origin_type == "lambda"
    error_message = "What goes to the function must be signed."
  }

  assert {
    condition     = { for key, permission in aws_lambda_permission.router : key => "${permission.principal} ${permission.function_name}:${permission.qualifier}" } == { "lambda:InvokeFunctionUrl" = "cloudfront.amazonaws.com firebrick-stream:live", "lambda:InvokeFunction" = "cloudfront.amazonaws.com firebrick-stream:live" }
    error_message = "CloudFront must be allowed both actions on the alias."
  }

  assert {
    condition     = aws_lb.service.internal && length(aws_vpc_security_group_ingress_rule.callers) == 0 && aws_vpc_security_group_ingress_rule.router[0].prefix_list_id == "pl-0123456789abcdef0"
    error_message = "Nobody but CloudFront reaches the balancer."
  }

  assert {
    condition     = aws_cloudfront_vpc_origin.service[0].vpc_origin_endpoint_config[0].origin_protocol_policy == "http-only"
    error_message = "Within the VPC it is HTTP."
  }
}

run "it_streams_and_caches_nothing" {
  command = plan

  assert {
    condition     = !aws_cloudfront_distribution.router[0].default_cache_behavior[0].compress && aws_cloudfront_distribution.router[0].default_cache_behavior[0].cache_policy_id == local.caching_disabled
    error_message = "Neither compressed nor cached."
  }

  assert {
    condition     = aws_cloudfront_distribution.router[0].default_cache_behavior[0].viewer_protocol_policy == "https-only"
    error_message = "A redirect would come when the key was sent already."
  }
}

run "weight_and_key_are_in_the_function" {
  command = plan

  assert {
    condition     = strcontains(aws_cloudfront_function.router[0].code, "PERCENT = 25;") && strcontains(aws_cloudfront_function.router[0].code, "KEY = 'ba7816bf")
    error_message = "The function decides who comes in and where to."
  }

  assert {
    condition     = output.back_end == { fargate = 25, lambda = 75 }
    error_message = "A quarter goes to the service."
  }
}

run "a_url_without_iam_is_called_as_it_is" {
  command = plan

  variables {
    router = {
      function_url = "https://abc.lambda-url.eu-central-1.on.aws/"
      function     = "firebrick-stream:live"
      url_auth     = "NONE"
      domain       = { name = "llm.example.org", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1" }
    }
  }

  assert {
    condition     = length(aws_cloudfront_origin_access_control.function) == 0 && length(aws_lambda_permission.router) == 0
    error_message = "A signature would take the place of the key."
  }

  assert {
    condition     = strcontains(aws_cloudfront_function.router[0].code, "KEY = '';")
    error_message = "The back ends ask for the key."
  }

  assert {
    condition     = output.url == "https://llm.example.org" && aws_cloudfront_distribution.router[0].viewer_certificate[0].minimum_protocol_version == "TLSv1.2_2021"
    error_message = "A domain of one's own has a certificate of its own."
  }
}
