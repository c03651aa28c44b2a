# One URL in front of both back ends. It streams from both, which a load balancer with a function behind it would not:
# that one gathers a whole answer, of 1 MB at most, and speaks an event format that the stream function isn't asked in.
# To the function CloudFront signs with IAM (origin access control); to the service it goes by a VPC origin, within the VPC.

locals {
  # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html and
  # using-managed-origin-request-policies.html
  caching_disabled       = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
  all_viewer_except_host = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
  longest_origin_read_s  = 60 # CloudFront's quota, unless AWS raises it; a stream's heartbeats come every 15 s
  signed                 = try(var.router.url_auth, "NONE") == "AWS_IAM"
  function_name          = try(split(":", var.router.function)[0], null)
  function_alias         = try(split(":", var.router.function)[1], null)
  function_domain        = try(regex("^https://([^/]+)", var.router.function_url)[0], null)
}

resource "aws_cloudfront_vpc_origin" "service" {
  count = local.router_count

  vpc_origin_endpoint_config {
    name                   = local.service_name
    arn                    = aws_lb.service.arn
    http_port              = 80
    https_port             = 443
    origin_protocol_policy = "http-only" # No certificate has the balancer's own name; the way is within the VPC.

    origin_ssl_protocols {
      items    = ["TLSv1.2"]
      quantity = 1
    }
  }

  depends_on = [aws_lb_listener.service]
}

resource "aws_cloudfront_origin_access_control" "function" {
  count                             = local.signed ? 1 : 0
  name                              = "${var.name}-router"
  description                       = "Signs what goes to the function URL"
  origin_access_control_origin_type = "lambda"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_function" "router" {
  count   = local.router_count
  name    = "${var.name}-router"
  comment = "Who may come in, and where to"
  runtime = "cloudfront-js-2.0"
  publish = true

  code = templatefile("${path.module}/router.js", {
    api_key_sha256  = var.router.api_key_sha256 == null ? "" : var.router.api_key_sha256
    fargate_percent = var.router.fargate_percent
  })
}

resource "aws_cloudfront_distribution" "router" {
  # checkov:skip=CKV_AWS_86:Each request is a line of the back end's log; access logs would need a bucket.
  # checkov:skip=CKV_AWS_68:A firewall is the account's affair; who has no key ends in the function.
  # checkov:skip=CKV2_AWS_47:As above, and nothing here runs Java.
  # checkov:skip=CKV2_AWS_32:The server sets its own headers.
  # checkov:skip=CKV2_AWS_42:A domain of one's own is optional (router.domain).
  # checkov:skip=CKV_AWS_174:With a domain of one's own it is TLS 1.2; CloudFront's own certificate fixes its policy.
  # checkov:skip=CKV_AWS_305:There are no documents.
  # checkov:skip=CKV_AWS_310:A request that was paid for isn't asked again elsewhere.
  # checkov:skip=CKV_AWS_374:It is for whoever has the key.
  count           = local.router_count
  comment         = "${var.name}: one URL, two back ends"
  enabled         = true
  is_ipv6_enabled = true
  http_version    = "http2and3"
  price_class     = "PriceClass_100"
  aliases         = var.router.domain == null ? [] : [var.router.domain.name]

  origin {
    origin_id                = "lambda"
    domain_name              = local.function_domain
    origin_access_control_id = local.signed ? aws_cloudfront_origin_access_control.function[0].id : null

    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]
      origin_read_timeout    = local.longest_origin_read_s
    }
  }

  origin {
    origin_id   = "fargate"
    domain_name = aws_lb.service.dns_name

    vpc_origin_config {
      vpc_origin_id       = aws_cloudfront_vpc_origin.service[0].id
      origin_read_timeout = local.longest_origin_read_s
    }
  }

  default_cache_behavior {
    target_origin_id         = "lambda" # The function decides anew for each request.
    viewer_protocol_policy   = "https-only"
    allowed_methods          = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
    cached_methods           = ["GET", "HEAD"]
    compress                 = false # Compressing would gather what is to stream.
    cache_policy_id          = local.caching_disabled
    origin_request_policy_id = local.all_viewer_except_host

    function_association {
      event_type   = "viewer-request"
      function_arn = aws_cloudfront_function.router[0].arn
    }
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    cloudfront_default_certificate = var.router.domain == null
    acm_certificate_arn            = try(var.router.domain.certificate_arn, null)
    ssl_support_method             = var.router.domain == null ? null : "sni-only"
    minimum_protocol_version       = var.router.domain == null ? "TLSv1" : "TLSv1.2_2021"
  }
}

# Both actions, as a URL takes since October 2025; CloudFront invokes by nothing but the URL.
resource "aws_lambda_permission" "router" {
  for_each      = toset(local.signed ? ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"] : [])
  statement_id  = "Router${split(":", each.value)[1]}"
  function_name = local.function_name
  qualifier     = local.function_alias
  principal     = "cloudfront.amazonaws.com"
  action        = each.value
  source_arn    = aws_cloudfront_distribution.router[0].arn
}
