# Jobs from a queue, results in a bucket, and a say in what it may cost.
name = "firebrick-jobs"

worker = {
  timeout_s           = 600
  batch_size          = 5
  maximum_concurrency = 20
}

monitoring = {
  monthly_budget_usd = 50
  budget_email       = "you@example.org"
}
