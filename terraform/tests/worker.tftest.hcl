# The function behind the queue, the queues and the buckets.

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
  target          = aws_lambda_function.worker
  override_during = plan
  values          = { version = "7" }
}

override_resource {
  target          = aws_sqs_queue.jobs
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:123456789012:firebrick-jobs" }
}

override_resource {
  target          = aws_sqs_queue.dead
  override_during = plan
  values          = { arn = "arn:aws:sqs:eu-central-1:123456789012:firebrick-dead" }
}

run "none" {
  command = plan

  assert {
    condition = sum([
      length(aws_lambda_function.worker), length(aws_lambda_alias.worker), length(aws_iam_role.worker), length(aws_iam_role_policy.worker),
      length(aws_cloudwatch_log_group.worker), length(aws_lambda_event_source_mapping.jobs), length(aws_lambda_function_event_invoke_config.worker),
      length(aws_sqs_queue.jobs), length(aws_sqs_queue.dead), length(aws_s3_bucket.results), length(aws_s3_bucket.input),
      length(aws_s3_bucket_policy.all), length(aws_s3_bucket_public_access_block.all), length(aws_s3_bucket_lifecycle_configuration.all),
      length(aws_s3_bucket_server_side_encryption_configuration.all), length(aws_s3_bucket_ownership_controls.all),
      length(aws_s3_bucket_versioning.input), length(aws_s3_bucket_notification.documents),
    ]) == 0
    error_message = "Without a worker there must be nothing of it."
  }

  assert {
    condition     = output.queue_url == null && output.dead_letter_queue_url == null && output.send_message_command == null && output.put_document_command == null
    error_message = "The outputs must not speak of a worker."
  }
}

run "by_default" {
  command = plan

  variables {
    worker = {}
  }

  assert {
    condition     = aws_lambda_function.worker[0].package_type == "Image" && aws_lambda_function.worker[0].publish
    error_message = "Each change must publish a version of the image function."
  }

  assert {
    condition     = aws_lambda_alias.worker[0].name == "live" && aws_lambda_alias.worker[0].function_version == "7"
    error_message = "The alias must lead to the version that was published."
  }

  assert {
    condition = aws_lambda_function.worker[0].environment[0].variables == tomap({
      OMP_NUM_THREADS              = "6"
      POWERTOOLS_SERVICE_NAME      = "firebrick-worker"
      POWERTOOLS_METRICS_NAMESPACE = "Firebrick"
      FIREBRICK_RESULTS_BUCKET     = "firebrick-results-123456789012-eu-central-1"
      FIREBRICK_INPUT_BUCKET       = "firebrick-input-123456789012-eu-central-1"
    })
    error_message = "The environment isn't the one of 10,240 MB, six processors."
  }

  assert {
    condition     = aws_lambda_function.worker[0].logging_config[0].log_format == "JSON"
    error_message = "Logs must be JSON."
  }

  assert {
    condition     = aws_lambda_function.worker[0].logging_config[0].log_group == aws_cloudwatch_log_group.worker[0].name
    error_message = "Logs must go to the group whose retention is set here."
  }

  assert {
    condition     = aws_cloudwatch_log_group.worker[0].retention_in_days == 30 && aws_lambda_function.worker[0].tracing_config[0].mode == "Active"
    error_message = "Logs must expire, and traces are on by default."
  }

  assert {
    condition = alltrue([
      aws_lambda_event_source_mapping.jobs[0].function_name == "arn:aws:lambda:eu-central-1:123456789012:function:firebrick-worker:live",
      aws_lambda_event_source_mapping.jobs[0].event_source_arn == "arn:aws:sqs:eu-central-1:123456789012:firebrick-jobs",
    ])
    error_message = "The queue must call the alias."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.jobs[0].function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "One bad job must not bring back its whole batch."
  }

  assert {
    condition = alltrue([
      aws_lambda_function_event_invoke_config.worker[0].qualifier == "live",
      aws_lambda_function_event_invoke_config.worker[0].maximum_retry_attempts == 2,
      aws_lambda_function_event_invoke_config.worker[0].destination_config[0].on_failure[0].destination == "arn:aws:sqs:eu-central-1:123456789012:firebrick-dead",
    ])
    error_message = "What was invoked asynchronously and failed must be told."
  }

  assert {
    condition     = aws_sqs_queue.jobs[0].visibility_timeout_seconds == 6 * 900
    error_message = "A job must stay invisible for six times as long as a try takes."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.jobs[0].redrive_policy) == { deadLetterTargetArn = "arn:aws:sqs:eu-central-1:123456789012:firebrick-dead", maxReceiveCount = 5 }
    error_message = "A job that fails five times must go to the dead letters."
  }

  assert {
    condition = jsondecode(aws_sqs_queue.dead[0].redrive_allow_policy) == {
      redrivePermission = "byQueue", sourceQueueArns = ["arn:aws:sqs:eu-central-1:123456789012:firebrick-jobs"]
    }
    error_message = "No other queue may put its dead letters here."
  }

  assert {
    condition     = aws_sqs_queue.dead[0].message_retention_seconds > aws_sqs_queue.jobs[0].message_retention_seconds
    error_message = "SQS counts a dead letter's age from when it was sent: it must be kept for longer than a job."
  }

  assert {
    condition     = aws_sqs_queue.jobs[0].sqs_managed_sse_enabled && aws_sqs_queue.dead[0].sqs_managed_sse_enabled
    error_message = "Queues must be encrypted."
  }

  assert {
    condition = toset(keys(aws_s3_bucket_public_access_block.all)) == toset(["input", "results"]) && alltrue([
      for block in aws_s3_bucket_public_access_block.all :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "Buckets must be private."
  }

  assert {
    condition = length(aws_s3_bucket_ownership_controls.all) == 2 && alltrue([
      for controls in aws_s3_bucket_ownership_controls.all : controls.rule[0].object_ownership == "BucketOwnerEnforced"
    ])
    error_message = "Access lists must be off."
  }

  assert {
    condition = length(aws_s3_bucket_server_side_encryption_configuration.all) == 2 && alltrue([
      for encryption in aws_s3_bucket_server_side_encryption_configuration.all :
      one(one(encryption.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    ])
    error_message = "Buckets must be encrypted."
  }

  assert {
    condition = length(aws_s3_bucket_lifecycle_configuration.all) == 2 && alltrue([
      for lifecycle in aws_s3_bucket_lifecycle_configuration.all :
      lifecycle.rule[0].status == "Enabled" && lifecycle.rule[0].expiration[0].days == 30 && lifecycle.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 1
    ])
    error_message = "Objects and broken uploads must expire."
  }

  assert {
    condition = alltrue([
      for lifecycle in aws_s3_bucket_lifecycle_configuration.all : lifecycle.rule[0].noncurrent_version_expiration[0].noncurrent_days == 30
    ]) && aws_s3_bucket_lifecycle_configuration.all["input"].rule[1].expiration[0].expired_object_delete_marker
    error_message = "So must versions, and what they leave."
  }

  assert {
    condition = [
      for rule in aws_s3_bucket_lifecycle_configuration.all["results"].rule : [rule.filter[0].prefix, rule.expiration[0].days] if rule.id == "parts"
    ] == [["parts/", 14]]
    error_message = "The answers of a document's parts are needed for no longer than a dead letter is kept."
  }

  assert {
    condition     = aws_s3_bucket_versioning.input[0].versioning_configuration[0].status == "Enabled"
    error_message = "A document that is overwritten must be answered all the same."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_notification.documents[0].bucket == "firebrick-input-123456789012-eu-central-1",
      length(aws_s3_bucket_notification.documents[0].queue) == 1,
      aws_s3_bucket_notification.documents[0].queue[0].queue_arn == "arn:aws:sqs:eu-central-1:123456789012:firebrick-jobs",
      aws_s3_bucket_notification.documents[0].queue[0].events == toset(["s3:ObjectCreated:*"]),
      aws_s3_bucket_notification.documents[0].queue[0].filter_prefix == "documents/",
    ])
    error_message = "S3 must tell the queue of documents, and of nothing else."
  }

  assert {
    condition     = !aws_s3_bucket.results[0].force_destroy && !aws_s3_bucket.input[0].force_destroy
    error_message = "Objects must not be deleted unless the user says so."
  }
}

run "as_the_user_wants_it" {
  command = plan

  variables {
    kms_key_arn   = "arn:aws:kms:eu-central-1:123456789012:key/mine"
    force_destroy = true
    environment   = { FIREBRICK_LOG_LEVEL = "DEBUG" }
    monitoring    = { tracing = false, log_retention_days = 7 }
    worker = {
      memory_mb           = 3008
      timeout_s           = 60
      batch_size          = 100
      batch_window_s      = 5
      maximum_concurrency = 2
      max_receive_count   = 3
      retention_days      = 7

      document_instruction = "Summarize this."
    }
  }

  assert {
    condition     = aws_lambda_function.worker[0].memory_size == 3008 && aws_lambda_function.worker[0].timeout == 60
    error_message = "Memory and timeout are the user's."
  }

  assert {
    condition = alltrue([
      aws_lambda_function.worker[0].environment[0].variables["OMP_NUM_THREADS"] == "2",
      aws_lambda_function.worker[0].environment[0].variables["FIREBRICK_LOG_LEVEL"] == "DEBUG",
    ])
    error_message = "3,008 MB are two processors, and the user's settings hold for both functions."
  }

  assert {
    condition     = aws_lambda_function.worker[0].environment[0].variables["FIREBRICK_DOCUMENT_INSTRUCTION"] == "Summarize this."
    error_message = "What is done with documents is the user's."
  }

  assert {
    condition = alltrue([
      aws_lambda_event_source_mapping.jobs[0].batch_size == 100,
      aws_lambda_event_source_mapping.jobs[0].maximum_batching_window_in_seconds == 5,
      aws_lambda_event_source_mapping.jobs[0].scaling_config[0].maximum_concurrency == 2,
    ])
    error_message = "Batches and concurrency are the user's."
  }

  assert {
    condition     = aws_sqs_queue.jobs[0].visibility_timeout_seconds == 360 && jsondecode(aws_sqs_queue.jobs[0].redrive_policy).maxReceiveCount == 3
    error_message = "Visibility must follow the timeout; tries are the user's."
  }

  assert {
    condition     = alltrue([for lifecycle in aws_s3_bucket_lifecycle_configuration.all : lifecycle.rule[0].expiration[0].days == 7])
    error_message = "The retention is the user's."
  }

  assert {
    condition     = aws_lambda_function.worker[0].tracing_config[0].mode == "PassThrough" && aws_cloudwatch_log_group.worker[0].retention_in_days == 7
    error_message = "Monitoring holds for both functions."
  }

  assert {
    condition     = aws_s3_bucket.results[0].force_destroy && aws_s3_bucket.input[0].force_destroy
    error_message = "force_destroy must let both buckets be deleted."
  }

  assert {
    condition = alltrue([for key in concat(
      [aws_sqs_queue.jobs[0].kms_master_key_id, aws_sqs_queue.dead[0].kms_master_key_id, aws_lambda_function.worker[0].kms_key_arn, aws_cloudwatch_log_group.worker[0].kms_key_id],
      [for encryption in aws_s3_bucket_server_side_encryption_configuration.all : one(one(encryption.rule).apply_server_side_encryption_by_default).kms_master_key_id],
    ) : key == var.kms_key_arn])
    error_message = "The user's key must encrypt queues, buckets, environment and logs."
  }
}
