# In a VPC the functions reach what they need through endpoints, and nothing else.

locals {
  vpc_count       = var.vpc == null ? 0 : 1
  endpoints_count = try(var.vpc.endpoints, false) ? 1 : 0
  services = local.endpoints_count == 0 ? [] : concat(
    local.secret_count == 1 ? ["secretsmanager"] : [],
    var.monitoring.tracing ? ["xray"] : [],
    var.worker == null ? [] : ["sqs"], # A document that takes longer than an invocation is sent to its queue again.
    local.results_bus == null ? [] : ["events"],
  )
}

resource "aws_security_group" "functions" {
  count       = local.vpc_count
  name        = "${var.name}-functions"
  description = "Firebrick's functions: HTTPS out, nothing in"
  vpc_id      = var.vpc.id

  depends_on = [terraform_data.builder]
}

resource "aws_vpc_security_group_egress_rule" "functions" {
  count             = local.vpc_count
  security_group_id = aws_security_group.functions[0].id
  description       = "HTTPS; in subnets without a way out it ends at the endpoints"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_security_group" "endpoints" {
  count       = length(local.services) > 0 ? 1 : 0
  name        = "${var.name}-endpoints"
  description = "Firebrick's endpoints: HTTPS from its functions"
  vpc_id      = var.vpc.id

  depends_on = [terraform_data.builder]
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count                        = length(local.services) > 0 ? 1 : 0
  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "HTTPS from the functions"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.functions[0].id
}

resource "aws_vpc_endpoint" "service" {
  for_each            = toset(local.services)
  vpc_id              = var.vpc.id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = var.vpc.subnet_ids
  security_group_ids  = [aws_security_group.endpoints[0].id]

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_endpoint" "s3" {
  count             = local.endpoints_count * max(local.worker_count, local.model_s3 == null ? 0 : 1)
  vpc_id            = var.vpc.id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.vpc.route_table_ids

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.worker_count == 0 ? [] : [
      {
        Sid       = "ResultsOnly"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
        Resource  = [local.results_arn, "${local.results_arn}/*"]
      },
      {
        Sid       = "DocumentsOnly"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"]
        Resource  = [local.input_arn, "${local.input_arn}/documents/*"]
      },
      ], local.model_s3 == null ? [] : [
      {
        Sid       = "ModelOnly"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:GetObject", "s3:ListBucket"]
        Resource  = [local.model_bucket, "${local.model_bucket}/${local.model_prefix}*"]
      },
    ])
  })

  tags = { Name = "${var.name}-s3" }
}
