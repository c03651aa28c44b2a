# A model that lies in S3: the variable, the rights, and the way to it from private subnets.

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

override_resource {
  target          = aws_sqs_queue.dead
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:123456789012:firebrick-dead" }
}

variables {
  region    = "eu-central-1"
  model_dir = "terraform/tests/fixtures/artefact"
}

run "without_one" {
  command = plan

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.stream.policy).Statement : !startswith(flatten([statement.Action])[0], "s3:")
    ])
    error_message = "Without a model in S3, the stream function has no business there."
  }
}

run "both_functions_load_it" {
  command = plan

  variables {
    model_s3_uri      = "s3://my-models/llama/7/"
    model_kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/models"
    worker            = {}
    vpc               = { id = "vpc-1", subnet_ids = ["subnet-1"], route_table_ids = ["rtb-1"] }
  }

  assert {
    condition = alltrue([
      for function in [aws_lambda_function.stream, aws_lambda_function.worker[0]] :
      function.environment[0].variables["FIREBRICK_MODEL_DIR"] == "s3://my-models/llama/7/"
    ])
    error_message = "Both functions must be told where the model is."
  }

  assert {
    condition = alltrue([
      for policy in [aws_iam_role_policy.stream.policy, aws_iam_role_policy.worker[0].policy] : [
        for statement in jsondecode(policy).Statement : [statement.Action, statement.Resource, try(statement.Condition.StringEquals["kms:ViaService"], "")]
        if strcontains(statement.Sid, "Model")
        ] == [
        ["s3:GetObject", "arn:aws:s3:::my-models/llama/7/*", ""],
        ["s3:ListBucket", "arn:aws:s3:::my-models", ""],
        ["kms:Decrypt", "arn:aws:kms:eu-central-1:123456789012:key/models", "s3.eu-central-1.amazonaws.com"],
      ]
    ])
    error_message = "Both roles may read that prefix, list its bucket, and decrypt it through S3, and no more of it."
  }

  assert {
    condition = one([
      for statement in jsondecode(aws_vpc_endpoint.s3[0].policy).Statement : statement.Resource if statement.Sid == "ModelOnly"
    ]) == ["arn:aws:s3:::my-models", "arn:aws:s3:::my-models/llama/7/*"]
    error_message = "The endpoint must let the model through, and nothing beside it."
  }
}

run "a_whole_bucket_without_a_worker" {
  command = plan

  variables {
    model_s3_uri = "s3://my-models"
    vpc          = { id = "vpc-1", subnet_ids = ["subnet-1"], route_table_ids = ["rtb-1"] }
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.stream.policy).Statement : statement.Resource if statement.Sid == "ReadModel"
    ] == ["arn:aws:s3:::my-models/*"]
    error_message = "Without a prefix the model lies in the bucket itself."
  }

  assert {
    condition     = [for statement in jsondecode(aws_vpc_endpoint.s3[0].policy).Statement : statement.Sid] == ["ModelOnly"]
    error_message = "Without a worker, the endpoint is for the model alone."
  }
}

run "no_way_to_it" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    model_s3_uri = "s3://my-models/7"
    vpc          = { id = "vpc-1", subnet_ids = ["subnet-1"] }
  }

  expect_failures = [var.vpc]
}

run "a_key_for_nothing" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    model_kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/models"
  }

  expect_failures = [var.model_kms_key_arn]
}

run "no_uri" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    model_s3_uri = "my-models/7"
  }

  expect_failures = [var.model_s3_uri]
}

run "upwards" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    model_s3_uri = "s3://my-models/../7"
  }

  expect_failures = [var.model_s3_uri]
}
