# What a person pastes next.

locals {
  direct_url = "${local.tls ? "https" : "http"}://${aws_lb.service.dns_name}"
  router_url = try("https://${try(var.router.domain.name, aws_cloudfront_distribution.router[0].domain_name)}", null)
  url        = coalesce(local.router_url, local.direct_url)
}

output "url" {
  description = "Where to ask: the router, or else the load balancer. A certificate is for a name of yours that leads there."
  value       = local.url
}

output "balancer" {
  description = "The load balancer's name, for a CNAME or an alias record."
  value       = aws_lb.service.dns_name
}

output "back_end" {
  description = "Where the router sends requests to, in percent; null without it."
  value       = var.router == null ? null : { fargate = var.router.fargate_percent, lambda = 100 - var.router.fargate_percent }
}

output "api_key_command" {
  description = "Reads the API key."
  value = join(" ", [
    "export FIREBRICK_API_KEY=\"$(aws secretsmanager get-secret-value --region ${local.region}",
    "--secret-id ${local.secret_name} --query SecretString --output text)\"",
  ])
}

output "curl_command" {
  description = "Asks which models there are."
  value       = "curl -H \"authorization: Bearer $FIREBRICK_API_KEY\" ${local.url}/v1/models"
}

output "service" {
  description = "What the ECS API calls it."
  value       = { cluster = var.name, service = local.service_name, task_definition = local.service_name }
}

output "logs_command" {
  description = "Follows the tasks' log."
  value       = "aws logs tail ${local.log_name} --region ${local.region} --follow"
}
