# What both functions may do: write their own log, and what tracing, VPC and topic ask for.

locals {
  common_statements = {
    for name in local.function_names : name => concat(
      [{
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${local.log_arn}/${name}:*"
      }],
      var.monitoring.tracing ? [{
        Sid      = "Trace"
        Effect   = "Allow"
        Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
        Resource = "*" # X-Ray knows no resources for these.
      }] : [],
      var.vpc == null ? [] : [{
        Sid    = "NetworkInterfaces"
        Effect = "Allow"
        Action = [
          "ec2:AssignPrivateIpAddresses",
          "ec2:CreateNetworkInterface",
          "ec2:DeleteNetworkInterface",
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSubnets",
          "ec2:UnassignPrivateIpAddresses",
        ]
        Resource = "*" # EC2 can't describe by resource, and the interfaces aren't there yet.
      }],
    )
  }
}
