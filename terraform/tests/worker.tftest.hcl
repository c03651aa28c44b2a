# The worker: on with all that belongs to it, off without a trace.

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

run "on" {
  command = plan

  variables {
    worker = { timeout_s = 60, batch_size = 20, batch_window_s = 3, maximum_concurrency = 7, max_receive_count = 4, memory_mb = 1769 }
  }

  assert {
    condition     = aws_lambda_function.worker[0].function_name == "firebrick-worker"
    error_message = "The worker is called after the deployment."
  }

  assert {
    condition     = aws_lambda_function.worker[0].environment[0].variables.FIREBRICK_RESULTS_BUCKET == "firebrick-results-123456789012-eu-central-1"
    error_message = "The worker must know where results go."
  }

  assert {
    condition     = aws_lambda_function.worker[0].environment[0].variables.OMP_NUM_THREADS == "1"
    error_message = "1,769 MB buy one processor."
  }

  assert {
    condition     = aws_lambda_alias.worker[0].name == "live"
    error_message = "The queue calls an alias."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.jobs[0].function_name == "arn:aws:lambda:eu-central-1:123456789012:function:firebrick-worker:live"
    error_message = "The mapping must call the alias."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.jobs[0].function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "Without it SQS would delete what failed."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.jobs[0].batch_size == 20 && aws_lambda_event_source_mapping.jobs[0].maximum_batching_window_in_seconds == 3
    error_message = "The mapping has the batch that was asked for."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.jobs[0].scaling_config[0].maximum_concurrency == 7
    error_message = "The mapping has the concurrency that was asked for."
  }

  assert {
    condition     = aws_sqs_queue.jobs[0].visibility_timeout_seconds == 360
    error_message = "Messages stay invisible for six time-outs."
  }

  assert {
    condition     = aws_sqs_queue.jobs[0].sqs_managed_sse_enabled && aws_sqs_queue.dead[0].sqs_managed_sse_enabled
    error_message = "Queues are encrypted."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dead[0].redrive_allow_policy).sourceQueueArns == ["arn:aws:sqs:eu-central-1:123456789012:firebrick-jobs"]
    error_message = "Only the jobs' queue may use the dead-letter queue."
  }

  assert {
    condition     = alltrue([for queue in [aws_sqs_queue.jobs[0], aws_sqs_queue.dead[0]] : jsondecode(queue.policy).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } } && jsondecode(queue.policy).Statement[0].Effect == "Deny"])
    error_message = "Queues are for TLS only."
  }

  assert {
    condition     = aws_lambda_function_event_invoke_config.worker[0].maximum_retry_attempts == 2 && aws_lambda_function_event_invoke_config.worker[0].qualifier == "live"
    error_message = "Asynchronous invokes of the alias are tried three times."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["dead-letters"].dimensions == tomap({ QueueName = "firebrick-dead" })
    error_message = "The dead-letter queue has an alarm of its own."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.all["queue-age"].threshold == 360
    error_message = "Jobs that wait for too long are told."
  }
}

run "buckets" {
  command = plan

  variables {
    worker        = { retention_days = 9 }
    force_destroy = true
  }

  assert {
    condition     = alltrue([for bucket in [aws_s3_bucket.input[0], aws_s3_bucket.results[0]] : bucket.force_destroy])
    error_message = "force_destroy lets buckets go that hold objects."
  }

  assert {
    condition     = alltrue([for block in aws_s3_bucket_public_access_block.all : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets])
    error_message = "No bucket may be public."
  }

  assert {
    condition     = alltrue([for all in aws_s3_bucket_ownership_controls.all : one(all.rule).object_ownership == "BucketOwnerEnforced"])
    error_message = "Buckets have no ACLs."
  }

  assert {
    condition     = alltrue([for all in aws_s3_bucket_server_side_encryption_configuration.all : one(one(all.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"])
    error_message = "Buckets are encrypted."
  }

  assert {
    condition     = alltrue([for all in aws_s3_bucket_lifecycle_configuration.all : all.rule[0].expiration[0].days == 9 && all.rule[0].status == "Enabled"])
    error_message = "Objects expire."
  }

  assert {
    condition     = keys(aws_s3_bucket_policy.all) == ["input", "results"] && alltrue([for all in aws_s3_bucket_policy.all : jsondecode(all.policy).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } }])
    error_message = "Buckets are for TLS only."
  }
}

run "off" {
  command = plan

  assert {
    condition     = length(aws_lambda_function.worker) + length(aws_sqs_queue.jobs) + length(aws_sqs_queue.dead) + length(aws_s3_bucket.input) + length(aws_s3_bucket.results) == 0
    error_message = "Nothing of the worker may be there."
  }

  assert {
    condition     = length(aws_lambda_event_source_mapping.jobs) + length(aws_iam_role.worker) + length(aws_cloudwatch_log_group.worker) == 0
    error_message = "Nothing of the worker may be there."
  }

  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.all) == ["stream-5xx", "stream-errors", "stream-throttles"]
    error_message = "The stream function has its alarms."
  }

  assert {
    condition     = output.queue_url == null && output.send_message_command == null
    error_message = "Outputs of what is not there are null."
  }
}
