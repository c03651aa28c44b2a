# The state machine for batches: what it says, and what its role may.

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
  region    = "eu-central-1"
  model_dir = "terraform/tests/fixtures/artefact"
}

override_resource {
  target          = aws_sfn_state_machine.batches
  override_during = plan
  values          = { arn = "arn:aws:states:eu-central-1:123456789012:stateMachine:firebrick-batches" }
}

override_resource {
  target          = aws_cloudwatch_log_group.batches
  override_during = plan
  values          = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:batches" }
}

run "none" {
  command = plan

  variables {
    worker = {}
  }

  assert {
    condition = sum([
      length(aws_sfn_state_machine.batches), length(aws_iam_role.batches), length(aws_iam_role_policy.batches), length(aws_cloudwatch_log_group.batches),
    ]) == 0
    error_message = "Without batches there must be nothing of them."
  }

  assert {
    condition     = output.batches_arn == null && output.batches_role_arn == null && output.batch_commands == null
    error_message = "The outputs must not speak of batches."
  }
}

run "by_default" {
  command = plan

  variables {
    worker  = { maximum_concurrency = 7, timeout_s = 300 }
    batches = {}
  }

  assert {
    condition = {
      for name, state in jsondecode(aws_sfn_state_machine.batches[0].definition).States : name => state.ItemReader if state.Type == "Map"
      } == {
      Objects = { Resource = "arn:aws:states:::s3:listObjectsV2", Parameters = { Bucket = "firebrick-input-123456789012-eu-central-1", "Prefix.$" = "$.prefix" } }
      Rows = {
        Resource     = "arn:aws:states:::s3:getObject"
        ReaderConfig = { InputType = "CSV", CSVHeaderLocation = "FIRST_ROW" }
        Parameters   = { Bucket = "firebrick-input-123456789012-eu-central-1", "Key.$" = "$.csv" }
      }
      Lines = {
        Resource     = "arn:aws:states:::s3:getObject"
        ReaderConfig = { InputType = "JSONL" }
        Parameters   = { Bucket = "firebrick-input-123456789012-eu-central-1", "Key.$" = "$.jsonl" }
      }
    }
    error_message = "Items come from a prefix, a CSV file or JSON lines of the input bucket."
  }

  assert {
    condition = alltrue([
      for state in jsondecode(aws_sfn_state_machine.batches[0].definition).States :
      state.ItemProcessor.ProcessorConfig == { Mode = "DISTRIBUTED", ExecutionType = "STANDARD" } && state.MaxConcurrency == 7 &&
      state.ToleratedFailurePercentagePath == "$.tolerated_failure_percentage" && !can(state.Catch) && state.ResultWriter == {
        Resource   = "arn:aws:states:::s3:putObject"
        Parameters = { Bucket = "firebrick-results-123456789012-eu-central-1", "Prefix.$" = "States.Format('batches/{}', $$.Execution.Name)" }
      } if state.Type == "Map"
    ])
    error_message = "Items run beside each other as the worker's environments allow; a report is written; a redrive finds the map, because nothing catches its failure."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.batches[0].definition).States.Defaults.Parameters.tolerated_failure_percentage == 10
    error_message = "One item in ten may fail."
  }

  assert {
    condition = alltrue(flatten([
      for state in jsondecode(aws_sfn_state_machine.batches[0].definition).States : [
        for task in state.ItemProcessor.States :
        task.Parameters.FunctionName == "arn:aws:lambda:eu-central-1:123456789012:function:firebrick-worker:live" &&
        task.TimeoutSeconds == 360 && task.OutputPath == "$.Payload" if try(endswith(task.Resource, "lambda:invoke"), false)
      ] if state.Type == "Map"
    ]))
    error_message = "The alias is asked, for longer than the function may take."
  }

  assert {
    condition = alltrue(flatten([
      for state in jsondecode(aws_sfn_state_machine.batches[0].definition).States : [
        for task in state.ItemProcessor.States : {
          for retry in task.Retry : join(",", sort(retry.ErrorEquals)) => retry.MaxAttempts
          } == {
          "Lambda.TooManyRequestsException"                                                                                                       = 10
          "Lambda.AWSLambdaException,Lambda.ClientExecutionTimeoutException,Lambda.SdkClientException,Lambda.ServiceException,ResultsUnavailable" = 5
          "DeadlineExceeded,GenerationFailed,Lambda.Unknown,Runtime.ExitError,Sandbox.Timedout"                                                   = 1
        } if try(endswith(task.Resource, "lambda:invoke"), false)
      ] if state.Type == "Map"
    ]))
    error_message = "What passes is tried again, what was refused never."
  }

  assert {
    condition = alltrue([
      aws_sfn_state_machine.batches[0].logging_configuration[0].level == "ERROR",
      !aws_sfn_state_machine.batches[0].logging_configuration[0].include_execution_data,
      aws_sfn_state_machine.batches[0].logging_configuration[0].log_destination == "arn:aws:logs:eu-central-1:123456789012:log-group:batches:*",
      aws_sfn_state_machine.batches[0].tracing_configuration[0].enabled,
      length(aws_sfn_state_machine.batches[0].encryption_configuration) == 0,
      aws_cloudwatch_log_group.batches[0].retention_in_days == 30,
    ])
    error_message = "Errors are logged without texts, for a time, and traces are on."
  }

  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.batches[0].policy).Statement : statement.Sid => flatten([statement.Action, statement.Resource]) if statement.Resource != "*"
      } == {
      AskTheWorker = ["lambda:InvokeFunction", "arn:aws:lambda:eu-central-1:123456789012:function:firebrick-worker:live"]
      ListInput    = ["s3:ListBucket", "arn:aws:s3:::firebrick-input-123456789012-eu-central-1"]
      ReadInput    = ["s3:GetObject", "s3:GetObjectVersion", "arn:aws:s3:::firebrick-input-123456789012-eu-central-1/*"]
      WriteReports = [
        "s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject",
        "arn:aws:s3:::firebrick-results-123456789012-eu-central-1/batches/*",
      ]
      StartChildren = ["states:StartExecution", "arn:aws:states:eu-central-1:123456789012:stateMachine:firebrick-batches"]
      WatchChildren = [
        "states:DescribeExecution", "states:RedriveExecution", "states:StopExecution",
        "arn:aws:states:eu-central-1:123456789012:execution:firebrick-batches:*",
        "arn:aws:states:eu-central-1:123456789012:execution:firebrick-batches/*",
      ]
    }
    error_message = "It may ask the worker, read the input, write reports and run its own children."
  }

  assert {
    condition = toset([
      for statement in jsondecode(aws_iam_role_policy.batches[0].policy).Statement : statement.Sid if statement.Resource == "*"
    ]) == toset(["DeliverLogs", "Trace"])
    error_message = "Only deliveries of logs and X-Ray know no resources."
  }

  assert {
    condition = jsondecode(aws_iam_role.batches[0].assume_role_policy).Statement[0].Condition == {
      StringEquals = { "aws:SourceAccount" = "123456789012" }
      ArnLike      = { "aws:SourceArn" = "arn:aws:states:eu-central-1:123456789012:stateMachine:firebrick-*" }
    }
    error_message = "Only state machines of this deployment may have the role."
  }

  assert {
    condition = alltrue([
      for form, command in output.batch_commands :
      startswith(command, "aws stepfunctions start-execution --region eu-central-1 --state-machine-arn arn:aws:states:eu-central-1:123456789012:stateMachine:firebrick-batches ") &&
      contains(keys(jsondecode(regex("--input '(.*)'$", command)[0])), form)
    ]) && toset(keys(output.batch_commands)) == toset(["prefix", "csv", "jsonl"])
    error_message = "There must be a command for each form."
  }
}

run "as_the_user_wants_it" {
  command = plan

  variables {
    worker      = {}
    batches     = { max_concurrency = 100, tolerated_failure_percentage = 2.5 }
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/mine"
    monitoring  = { tracing = false, log_retention_days = 7 }
  }

  assert {
    condition = alltrue([
      for state in jsondecode(aws_sfn_state_machine.batches[0].definition).States : state.MaxConcurrency == 100 if state.Type == "Map"
    ]) && jsondecode(aws_sfn_state_machine.batches[0].definition).States.Defaults.Parameters.tolerated_failure_percentage == 2.5
    error_message = "Concurrency and threshold are the user's."
  }

  assert {
    condition = alltrue([
      aws_sfn_state_machine.batches[0].encryption_configuration[0].kms_key_id == "arn:aws:kms:eu-central-1:123456789012:key/mine",
      aws_sfn_state_machine.batches[0].encryption_configuration[0].type == "CUSTOMER_MANAGED_KMS_KEY",
      aws_cloudwatch_log_group.batches[0].kms_key_id == "arn:aws:kms:eu-central-1:123456789012:key/mine",
      aws_cloudwatch_log_group.batches[0].retention_in_days == 7,
      !aws_sfn_state_machine.batches[0].tracing_configuration[0].enabled,
    ])
    error_message = "The key is for executions and log."
  }

  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.batches[0].policy).Statement : statement.Sid => statement.Condition if can(statement.Condition)
      } == {
      EncryptObjects    = { StringEquals = { "kms:ViaService" = "s3.eu-central-1.amazonaws.com" } }
      EncryptExecutions = { StringLike = { "kms:EncryptionContext:aws:states:stateMachineArn" = "arn:aws:states:eu-central-1:123456789012:stateMachine:firebrick-batches*" } }
    }
    error_message = "The key may be used for the buckets' objects and its own executions."
  }

  assert {
    condition     = !contains(jsondecode(aws_iam_role_policy.batches[0].policy).Statement[*].Sid, "Trace")
    error_message = "Nobody traces."
  }
}

run "without_a_worker" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    batches = {}
  }

  expect_failures = [var.batches]
}

run "no_items_at_a_time" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker  = {}
    batches = { max_concurrency = 0 }
  }

  expect_failures = [var.batches]
}

run "half_an_item" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker  = {}
    batches = { max_concurrency = 1.5 }
  }

  expect_failures = [var.batches]
}

run "too_many_items" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker  = {}
    batches = { max_concurrency = 1001 }
  }

  expect_failures = [var.batches]
}

run "threshold_below" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker  = {}
    batches = { tolerated_failure_percentage = -1 }
  }

  expect_failures = [var.batches]
}

run "threshold_above" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker  = {}
    batches = { tolerated_failure_percentage = 100.5 }
  }

  expect_failures = [var.batches]
}
