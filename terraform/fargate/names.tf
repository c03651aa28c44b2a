# Names and ARNs are made here, not read from resources: a policy that waited for a resource would show up in every plan.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  service_name = "${var.name}-service"
  log_name     = "/ecs/${local.service_name}"
  log_arn      = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_name}"
  secret_name  = coalesce(var.api_key_secret, "${var.name}/service-api-key")
  secret_count = var.api_key_secret == null ? 1 : 0
  router_count = var.router == null ? 0 : 1

  # ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY@sha256:DIGEST
  image_parts = regex("^([0-9]{12})\\.dkr\\.ecr\\.([a-z0-9-]+)\\.[^/]+/(.+)@", var.image)
  image_arn   = "arn:${local.partition}:ecr:${local.image_parts[1]}:${local.image_parts[0]}:repository/${local.image_parts[2]}"

  tls  = var.balancer.certificate_arn != null
  port = local.tls ? 443 : 80
}
