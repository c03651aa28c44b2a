# Least privilege, over every policy of a deployment that has all parts.

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
  region      = "eu-central-1"
  model_dir   = "terraform/tests/fixtures/artefact"
  url_auth    = "NONE"
  worker      = {}
  vpc         = { id = "vpc-1", subnet_ids = ["subnet-1"], route_table_ids = ["rtb-1"] }
  kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/mine"
}

override_resource {
  target          = aws_sqs_queue.dead
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:123456789012:firebrick-dead" }
}


run "all_parts" {
  command = plan

  # What is allowed.
  assert {
    condition = alltrue([
      for statement in flatten([for document in [
        aws_iam_role.stream.assume_role_policy, aws_iam_role.worker[0].assume_role_policy,
        aws_iam_role_policy.stream.policy, aws_iam_role_policy.worker[0].policy,
        aws_ecr_repository_policy.images[0].policy, aws_vpc_endpoint.s3[0].policy,
      ] : jsondecode(document).Statement]) :
      statement.Effect == "Allow" && alltrue([for action in flatten([statement.Action]) : !strcontains(action, "*")])
    ])
    error_message = "Each action must be named."
  }

  assert {
    condition = toset([
      for statement in flatten([for document in [
        aws_iam_role_policy.stream.policy, aws_iam_role_policy.worker[0].policy, aws_vpc_endpoint.s3[0].policy,
      ] : jsondecode(document).Statement]) :
      statement.Sid if contains(flatten([statement.Resource]), "*")
    ]) == toset(["Trace", "NetworkInterfaces"])
    error_message = "Only X-Ray and EC2's network interfaces know no resources."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.stream.policy).Statement : statement.Action if contains(["Trace", "NetworkInterfaces"], statement.Sid)
      ])) == toset([
      "xray:PutTraceSegments", "xray:PutTelemetryRecords", "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface",
      "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
    ])
    error_message = "On all resources nothing else may be done."
  }

  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.stream.policy).Statement : statement.Sid => statement.Resource if statement.Resource != "*"
      } == {
      Log              = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/firebrick-stream:*"
      ApiKey           = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:firebrick/api-key-??????"
      ApiKeyDecryption = "arn:aws:kms:eu-central-1:123456789012:key/mine"
    }
    error_message = "The stream function may reach its own log, its own key, and decrypt that."
  }

  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : statement.Sid => statement.Resource if statement.Resource != "*"
      } == {
      Log                     = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/firebrick-worker:*"
      TakeJobs                = "arn:aws:sqs:eu-central-1:123456789012:firebrick-jobs"
      ReportLostInvokes       = "arn:aws:sqs:eu-central-1:123456789012:firebrick-dead"
      ReadDocuments           = "arn:aws:s3:::firebrick-input-123456789012-eu-central-1/documents/*"
      GoOnInAnotherInvocation = "arn:aws:sqs:eu-central-1:123456789012:firebrick-jobs"
      EncryptQueueAndBucket   = "arn:aws:kms:eu-central-1:123456789012:key/mine"
      KeepResults = [
        for prefix in ["results", "plans", "parts", "failed"] : "arn:aws:s3:::firebrick-results-123456789012-eu-central-1/${prefix}/*"
      ]
      TellMissingObjectsFromForbiddenOnes = [
        "arn:aws:s3:::firebrick-results-123456789012-eu-central-1", "arn:aws:s3:::firebrick-input-123456789012-eu-central-1",
      ]
    }
    error_message = "The worker may reach its own log, its queues, documents, and what becomes of them."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.worker[0].policy).Statement :
      length(setintersection(flatten([statement.Action]), ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"])) == 0
      if length([for resource in flatten([statement.Resource]) : resource if strcontains(resource, "-input-")]) > 0
    ])
    error_message = "The worker must not write where documents are put: it would tell itself of them."
  }

  assert {
    condition = alltrue([
      for statement in concat(jsondecode(aws_iam_role_policy.stream.policy).Statement, jsondecode(aws_iam_role_policy.worker[0].policy).Statement) :
      alltrue([for service in flatten([statement.Condition.StringEquals["kms:ViaService"]]) : can(regex("^(secretsmanager|s3|sqs)\\.eu-central-1\\.", service))])
      if startswith(flatten([statement.Action])[0], "kms:")
    ])
    error_message = "The key may only be used through the services that need it."
  }

  assert {
    condition = alltrue([
      for document in [aws_iam_role.stream.assume_role_policy, aws_iam_role.worker[0].assume_role_policy] :
      [for statement in jsondecode(document).Statement : statement.Principal] == [{ Service = "lambda.amazonaws.com" }]
    ])
    error_message = "Only Lambda may take the functions' roles."
  }

  assert {
    condition = one([for statement in jsondecode(aws_ecr_repository_policy.images[0].policy).Statement : [statement.Principal, statement.Condition]]) == [
      { Service = "lambda.amazonaws.com" },
      { ArnLike = { "aws:SourceArn" = [
        "arn:aws:lambda:eu-central-1:123456789012:function:firebrick-stream", "arn:aws:lambda:eu-central-1:123456789012:function:firebrick-worker",
      ] } },
    ]
    error_message = "Only Lambda may pull, for these two functions."
  }

  # What is denied.
  assert {
    condition = alltrue([
      for document in concat([aws_sqs_queue.jobs[0].policy, aws_sqs_queue.dead[0].policy], values(aws_s3_bucket_policy.all)[*].policy) :
      one([for statement in jsondecode(document).Statement : [statement.Principal, statement.Condition] if statement.Effect == "Deny"]) == [
        "*", { Bool = { "aws:SecureTransport" = "false" } },
      ]
    ])
    error_message = "Queues and buckets must be deaf to whoever comes without TLS."
  }

  assert {
    condition = flatten([
      for document in concat([aws_sqs_queue.jobs[0].policy, aws_sqs_queue.dead[0].policy], values(aws_s3_bucket_policy.all)[*].policy) :
      [for statement in jsondecode(document).Statement : statement if statement.Effect != "Deny"]
      ]) == [{
      Sid       = "TakeNotifications"
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:eu-central-1:123456789012:firebrick-jobs"
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:s3:::firebrick-input-123456789012-eu-central-1" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "Their policies grant nothing but that S3 tells of documents."
  }

  assert {
    condition = alltrue([
      for name, policy in aws_s3_bucket_policy.all : one(jsondecode(policy.policy).Statement[*].Resource) == [
        "arn:aws:s3:::firebrick-${name}-123456789012-eu-central-1", "arn:aws:s3:::firebrick-${name}-123456789012-eu-central-1/*",
      ]
    ])
    error_message = "Bucket and objects must be denied without TLS."
  }

  # Nothing gives rights in another way.
  assert {
    condition = length(regexall("resource \"aws_(iam_role_policy_attachment|iam_policy_attachment|iam_user|iam_group|s3_bucket_acl|sqs_queue_policy|secretsmanager_secret_policy)", join("\n", [
      for name in fileset(path.module, "*.tf") : file("${path.module}/${name}")
    ]))) == 0
    error_message = "A policy that this file doesn't know."
  }
}

run "no_parts" {
  command = plan

  variables {
    url_auth    = "AWS_IAM"
    worker      = null
    vpc         = null
    kms_key_arn = null
    monitoring  = { tracing = false }
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.stream.policy).Statement[*].Sid == ["Log"]
    error_message = "A function without parts may write its log, and nothing else."
  }
}
