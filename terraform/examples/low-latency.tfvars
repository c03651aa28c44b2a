# For people: two environments are always awake on working days, up to ten as they are used, none at night.
name                 = "firebrick-fast"
url_auth             = "NONE"
cors_origins         = ["https://example.org"]
reserved_concurrency = 20

provisioned_concurrency = {
  minimum = 2
  maximum = 10
  schedule = [
    { when = "cron(0 7 ? * MON-FRI *)", minimum = 2, maximum = 10, timezone = "Europe/Berlin" },
    { when = "cron(0 19 ? * * *)", minimum = 0, maximum = 0, timezone = "Europe/Berlin" },
  ]
}
