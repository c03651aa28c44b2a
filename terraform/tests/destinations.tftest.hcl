# Results in a queue and on a bus, and what a worker may do for that.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

provider "aws" {
  alias                       = "virginia"
  region                      = "us-east-1"
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

override_resource {
  target          = aws_sqs_queue.dead
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:123456789012:firebrick-dead" }
}

override_resource {
  target          = aws_sqs_queue.results
  override_during = plan
  values          = { url = "https://sqs.eu-central-1.amazonaws.com/123456789012/firebrick-results" }
}

run "bucket_alone" {
  command = plan

  variables {
    worker = {}
  }

  assert {
    condition     = length(aws_sqs_queue.results) == 0 && output.results_queue_url == null
    error_message = "By default results lie in the bucket and go nowhere else."
  }
}

run "queue_and_bus" {
  command = plan

  variables {
    worker = { results = { queue = true, bus_arn = "arn:aws:events:eu-west-1:210987654321:event-bus/answers" } }
    vpc    = { id = "vpc-1", subnet_ids = ["subnet-1"], route_table_ids = ["rtb-1"] }
  }

  assert {
    condition = {
      for name, value in aws_lambda_function.worker[0].environment[0].variables : name => value if startswith(name, "FIREBRICK_RESULTS")
      } == {
      FIREBRICK_RESULTS           = "sqs,events"
      FIREBRICK_RESULTS_BUCKET    = "firebrick-results-123456789012-eu-central-1"
      FIREBRICK_RESULTS_QUEUE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/firebrick-results"
      FIREBRICK_RESULTS_BUS       = "arn:aws:events:eu-west-1:210987654321:event-bus/answers"
    }
    error_message = "The worker must know where results go."
  }

  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : statement.Sid => [statement.Action, statement.Resource]
      if contains(["SendResults", "PutResults", "NoteWhatWasSent"], statement.Sid)
      } == {
      SendResults     = ["sqs:SendMessage", "arn:aws:sqs:eu-central-1:123456789012:firebrick-results"]
      PutResults      = ["events:PutEvents", "arn:aws:events:eu-west-1:210987654321:event-bus/answers"]
      NoteWhatWasSent = [["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::firebrick-results-123456789012-eu-central-1/sent/*"]
    }
    error_message = "The worker may send results there, and note it in the bucket."
  }

  assert {
    condition     = aws_sqs_queue.results[0].message_retention_seconds == 1209600 && aws_sqs_queue.results[0].sqs_managed_sse_enabled
    error_message = "Results must be encrypted, and wait for two weeks."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.results[0].policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "Nobody may reach the results without TLS."
  }

  assert {
    condition     = length(setintersection(keys(aws_vpc_endpoint.service), ["sqs", "events"])) == 2
    error_message = "In a VPC, queue and bus need endpoints."
  }

  assert {
    condition     = contains(jsondecode(aws_vpc_endpoint.s3[0].policy).Statement[0].Resource, "arn:aws:s3:::firebrick-results-123456789012-eu-central-1/*")
    error_message = "In a VPC, the worker must be able to note what was sent."
  }
}

run "no_bus" {
  command = plan

  variables {
    worker = { results = { bus_arn = "answers" } }
  }

  expect_failures = [var.worker]
}

run "prices_of_the_region" {
  command = plan

  variables {
    region    = "us-east-1"
    image_uri = { stream = "123456789012.dkr.ecr.us-east-1.amazonaws.com/firebrick@sha256:0000000000000000000000000000000000000000000000000000000000000000" }
  }

  providers = { aws = aws.virginia }

  assert {
    condition     = output.idle_cost_usd_per_month.dashboard == 3 && output.idle_cost_usd_per_month.total > 3
    error_message = "What stands there must be reckoned with the region's prices."
  }
}

run "a_region_without_prices" {
  command = plan

  assert {
    condition     = output.idle_cost_usd_per_month == null
    error_message = "Where no price is known the cost is null, not another region's."
  }
}
