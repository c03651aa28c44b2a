# The load balancer: who comes in, and for how long a connection may be silent.

# Of CloudFront's servers; those that reach an internal load balancer come by a VPC origin of this account.
data "aws_ec2_managed_prefix_list" "cloudfront" {
  count = local.router_count
  name  = "com.amazonaws.global.cloudfront.origin-facing"
}

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "Firebrick's load balancer: requests in, and on to its tasks"
  vpc_id      = var.vpc.id
}

resource "aws_vpc_security_group_ingress_rule" "callers" {
  for_each          = toset(var.balancer.allowed_cidrs)
  security_group_id = aws_security_group.balancer.id
  description       = "Requests"
  ip_protocol       = "tcp"
  from_port         = local.port
  to_port           = local.port
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_ingress_rule" "router" {
  count             = local.router_count
  security_group_id = aws_security_group.balancer.id
  description       = "Requests from the router"
  ip_protocol       = "tcp"
  from_port         = local.port
  to_port           = local.port
  prefix_list_id    = data.aws_ec2_managed_prefix_list.cloudfront[0].id
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Requests to the tasks"
  ip_protocol                  = "tcp"
  from_port                    = local.container_port
  to_port                      = local.container_port
  referenced_security_group_id = aws_security_group.tasks.id
}

resource "aws_lb" "service" {
  # checkov:skip=CKV_AWS_91:Each request is a line of the server's log; access logs would need a bucket.
  # checkov:skip=CKV_AWS_150:terraform destroy must be able to remove it.
  # checkov:skip=CKV2_AWS_28:Internal by default, and behind an API key; a firewall is the account's affair.
  name                       = var.name
  load_balancer_type         = "application"
  internal                   = var.balancer.internal
  subnets                    = var.balancer.internal ? var.vpc.subnet_ids : var.vpc.public_subnet_ids
  security_groups            = [aws_security_group.balancer.id]
  idle_timeout               = local.idle_s # A stream has heartbeats; an answer that comes as a whole is silent until then.
  drop_invalid_header_fields = true
}

resource "aws_lb_target_group" "service" {
  # checkov:skip=CKV_AWS_378:Between load balancer and task it is plain HTTP, within two security groups.
  name                          = local.service_name
  vpc_id                        = var.vpc.id
  target_type                   = "ip"
  protocol                      = "HTTP"
  port                          = local.container_port
  load_balancing_algorithm_type = "least_outstanding_requests" # Answers differ too much in length for taking turns.
  deregistration_delay          = var.task.answer_s            # What has begun is answered, before a task is stopped.

  health_check {
    path                = "/health"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_trust_store" "clients" {
  count                            = var.balancer.client_ca == null ? 0 : 1
  name                             = var.name
  ca_certificates_bundle_s3_bucket = var.balancer.client_ca.bucket
  ca_certificates_bundle_s3_key    = var.balancer.client_ca.key
}

resource "aws_lb_listener" "service" {
  # checkov:skip=CKV_AWS_2:Without a certificate only for callers in the VPC, and only where that was asked for by name.
  # checkov:skip=CKV_AWS_103:As above; with one it is TLS 1.3 or 1.2.
  # Nothing listens on port 80 beside TLS: a redirect comes when the key was sent already.
  load_balancer_arn = aws_lb.service.arn
  port              = local.port
  protocol          = local.tls ? "HTTPS" : "HTTP"
  certificate_arn   = var.balancer.certificate_arn
  ssl_policy        = local.tls ? "ELBSecurityPolicy-TLS13-1-2-2021-06" : null

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service.arn
  }

  dynamic "mutual_authentication" {
    for_each = aws_lb_trust_store.clients
    content {
      mode            = "verify"
      trust_store_arn = mutual_authentication.value.arn
    }
  }
}
