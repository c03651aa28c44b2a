# What the batches' state machine does, in Amazon's States Language with JSONPath.

locals {
  integrations = "arn:${local.partition}:states:::"

  # Members of a request that an execution's input may have; null is what the worker takes for absent.
  batch_options = ["max_tokens", "temperature", "top_p", "seed", "stop", "response_format"]

  # By the names that the worker gives its errors (handler/errors.py) and Lambda its own. What isn't here isn't tried again:
  # a request that was refused would be refused again.
  ask_retries = [
    {
      ErrorEquals     = ["Lambda.TooManyRequestsException"]
      IntervalSeconds = 2
      BackoffRate     = 2
      MaxDelaySeconds = 60
      MaxAttempts     = 10
      JitterStrategy  = "FULL"
    },
    {
      ErrorEquals = [
        "Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException",
        "Lambda.ClientExecutionTimeoutException", "ResultsUnavailable",
      ]
      IntervalSeconds = 1
      BackoffRate     = 2
      MaxDelaySeconds = 30
      MaxAttempts     = 5
      JitterStrategy  = "FULL"
    },
    {
      # Each of these has cost up to the function's whole time-out.
      ErrorEquals     = ["DeadlineExceeded", "GenerationFailed", "Lambda.Unknown", "Runtime.ExitError", "Sandbox.Timedout"]
      IntervalSeconds = 1
      MaxAttempts     = 1
    },
  ]
  read_retries = [{
    ErrorEquals     = ["S3.S3Exception", "S3.SdkClientException"]
    IntervalSeconds = 1
    BackoffRate     = 2
    MaxAttempts     = 3
    JitterStrategy  = "FULL"
  }]

  chat_selected = merge(
    { for option in local.batch_options : "${option}.$" => "$.${option}" },
    { "name.$" = "$.name", "messages.$" = "$.messages", "instruction.$" = "$.instruction" },
  )
  chat_asked = merge(
    { for option in local.batch_options : "${option}.$" => "$.${option}" },
    { "messages.$" = "$.turns[*].messages[*]", "idempotency_key.$" = "$.idempotency_key" },
  )

  # Each: where items come from, what is kept of one, the states before the one that asks the worker, and what that asks.
  batch_forms = {
    Objects = {
      given  = ["prefix", "instruction"]
      reader = { Resource = "${local.integrations}s3:listObjectsV2", Parameters = { Bucket = local.input_name, "Prefix.$" = "$.prefix" } }
      item   = merge(local.chat_selected, { "key.$" = "$$.Map.Item.Value.Key" })
      before = {
        Read = {
          Type           = "Task"
          Resource       = "${local.integrations}aws-sdk:s3:getObject"
          Parameters     = { Bucket = local.input_name, "Key.$" = "$.key" }
          ResultSelector = { "text.$" = "$.Body", "etag.$" = "$.ETag" }
          ResultPath     = "$.object"
          Retry          = local.read_retries
          Next           = "Compose"
        }
        # The key has the object's version in it: another one is another job.
        Compose = {
          Type = "Pass"
          Parameters = merge(
            { for option in local.batch_options : "${option}.$" => "$.${option}" },
            {
              "idempotency_key.$" = "States.Format('{}.{}', $.name, States.Hash(States.Format('{}/{}', $.key, $.object.etag), 'SHA-256'))"
              turns = [
                { "messages.$" = "$.messages" },
                { messages = [{ role = "user", content = [{ type = "text", "text.$" = "$.instruction" }, { type = "text", "text.$" = "$.object.text" }] }] },
              ]
            },
          )
          Next = "AskAboutObject"
        }
      }
      ask     = "AskAboutObject"
      payload = { Payload = local.chat_asked }
    }
    Rows = {
      given = ["csv", "instruction"]
      reader = {
        Resource     = "${local.integrations}s3:getObject"
        ReaderConfig = { InputType = "CSV", CSVHeaderLocation = "FIRST_ROW" }
        Parameters   = { Bucket = local.input_name, "Key.$" = "$.csv" }
      }
      item = merge(
        { for option in local.batch_options : "${option}.$" => "$.${option}" },
        {
          "idempotency_key.$" = "States.Format('{}.{}', $.name, $$.Map.Item.Value.id)"
          turns = [
            { "messages.$" = "$.messages" },
            { messages = [{ role = "user", content = [{ type = "text", "text.$" = "$.instruction" }, { type = "text", "text.$" = "$$.Map.Item.Value.text" }] }] },
          ]
        },
      )
      before  = {}
      ask     = "AskAboutRow"
      payload = { Payload = local.chat_asked }
    }
    # Lines as OpenAI's batches have them: {"custom_id": …, "body": a request}.
    Lines = {
      given = ["jsonl"]
      reader = {
        Resource     = "${local.integrations}s3:getObject"
        ReaderConfig = { InputType = "JSONL" }
        Parameters   = { Bucket = local.input_name, "Key.$" = "$.jsonl" }
      }
      item = {
        "body.$" = "$$.Map.Item.Value.body"
        known    = { "idempotency_key.$" = "States.Format('{}.{}', $.name, $$.Map.Item.Value.custom_id)" }
      }
      before  = {}
      ask     = "AskLine"
      payload = { "Payload.$" = "States.JsonMerge($.body, $.known, false)" }
    }
  }

  batches_definition = {
    Comment = "Asks the worker about each object of a prefix, each row of a CSV file, or each line of a JSON lines file."
    StartAt = "Defaults"
    States = merge(
      {
        Defaults = {
          Type = "Pass"
          Parameters = merge({ for option in local.batch_options : option => null }, {
            messages                     = []
            "name.$"                     = "$$.Execution.Name"
            tolerated_failure_percentage = try(var.batches.tolerated_failure_percentage, 0)
          })
          ResultPath = "$.defaults"
          Next       = "Merge"
        }
        Merge = {
          Type       = "Pass"
          Parameters = { "batch.$" = "States.JsonMerge($.defaults, $$.Execution.Input, false)" }
          OutputPath = "$.batch"
          Next       = "Choose"
        }
        Choose = {
          Type = "Choice"
          Choices = [
            for form in ["Objects", "Rows", "Lines"] : {
              And  = [for member in local.batch_forms[form].given : { Variable = "$.${member}", IsPresent = true }]
              Next = form
            }
          ]
          Default = "Incomplete"
        }
        Incomplete = {
          Type  = "Fail"
          Error = "InputIncomplete"
          Cause = "The input must have prefix and instruction, or csv and instruction, or jsonl: docs/batches.md."
        }
      },
      {
        for form, part in local.batch_forms : form => {
          Type                           = "Map"
          Label                          = form
          MaxConcurrency                 = try(coalesce(var.batches.max_concurrency, var.worker.maximum_concurrency), 0)
          ToleratedFailurePercentagePath = "$.tolerated_failure_percentage"
          ItemReader                     = part.reader
          ItemSelector                   = part.item
          ItemProcessor = {
            # An answer may take the 15 minutes that a function has; express executions end after five.
            ProcessorConfig = { Mode = "DISTRIBUTED", ExecutionType = "STANDARD" }
            StartAt         = length(part.before) > 0 ? "Read" : part.ask
            States = merge(part.before, {
              (part.ask) = {
                Type           = "Task"
                Resource       = "${local.integrations}lambda:invoke"
                Parameters     = merge({ FunctionName = local.worker_alias }, part.payload)
                OutputPath     = "$.Payload"
                TimeoutSeconds = try(var.worker.timeout_s, 0) + 60
                Retry          = local.ask_retries
                End            = true
              }
            })
          }
          ResultWriter = {
            Resource   = "${local.integrations}s3:putObject"
            Parameters = { Bucket = local.results_name, "Prefix.$" = "States.Format('batches/{}', $$.Execution.Name)" }
          }
          End = true
        }
      },
    )
  }
}
