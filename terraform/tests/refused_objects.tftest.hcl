# The same for the members of worker, provisioned_concurrency and vpc: each run breaks one rule of each.

run "worker_timeout_below" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { timeout_s = 2 }
    provisioned_concurrency = { minimum = null }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "worker_timeout_above" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { timeout_s = 901 }
    provisioned_concurrency = { minimum = 0 }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "worker_timeout_fraction" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { timeout_s = 60.5 }
    provisioned_concurrency = { minimum = 1.5 }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "batch_below" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { batch_size = 0 }
    provisioned_concurrency = { minimum = 2, maximum = 1 }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "batch_above" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { batch_size = 10001, batch_window_s = 1 }
    provisioned_concurrency = { minimum = 2, maximum = 2.5 }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "batch_fraction" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { batch_size = 1.5 }
    provisioned_concurrency = { minimum = 1, target = 0.05 }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "window_below" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { batch_window_s = -1 }
    provisioned_concurrency = { minimum = 1, target = 0.95 }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "window_above" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { batch_window_s = 301 }
    provisioned_concurrency = { minimum = 1, schedule = [{ when = "daily", minimum = 0, maximum = 1 }] }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "window_fraction" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { batch_window_s = 0.5 }
    provisioned_concurrency = { minimum = 1, schedule = [{ when = null, minimum = 0, maximum = 1 }] }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "concurrency_below" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { maximum_concurrency = 1 }
    provisioned_concurrency = { minimum = 1, schedule = [{ when = "rate(1 hour)", minimum = -1, maximum = 1 }] }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "concurrency_above" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { maximum_concurrency = 1001 }
    provisioned_concurrency = { minimum = 1, schedule = [{ when = "rate(1 hour)", minimum = 2, maximum = 1 }] }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "concurrency_fraction" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { maximum_concurrency = 2.5 }
    provisioned_concurrency = { minimum = 1, schedule = [{ when = "rate(1 hour)", minimum = 0.5, maximum = 1 }] }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "receives_below" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { max_receive_count = 0 }
    provisioned_concurrency = { minimum = 1, schedule = [{ when = "rate(1 hour)", minimum = 1, maximum = 1.5 }] }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "receives_above" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { max_receive_count = 1001 }
    provisioned_concurrency = { minimum = 1, schedule = [{ when = "rate(1 hour)", minimum = null, maximum = 1 }] }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "receives_fraction" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { max_receive_count = 1.5 }
    provisioned_concurrency = { minimum = 1, schedule = [{ when = "rate(1 hour)", minimum = 1, maximum = null }] }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "retention_below" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker                  = { retention_days = 0 }
    provisioned_concurrency = { minimum = 1, schedule = [{ when = "rate(1 hour)", minimum = 1, maximum = 1 }, { when = "rate(1 hour)", minimum = 1, maximum = 1 }] }
  }

  expect_failures = [var.worker, var.provisioned_concurrency]
}

run "retention_fraction" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker = { retention_days = 1.5 }
  }

  expect_failures = [var.worker]
}

run "document_instruction_blank" {
  command = plan

  module {
    source = "./tests/refused"
  }

  variables {
    worker = { document_instruction = " " }
  }

  expect_failures = [var.worker]
}
