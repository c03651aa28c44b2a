# Results also as messages in a queue, and as events on a bus that is there already.
name = "firebrick-events"

worker = {
  results = {
    queue   = true
    bus_arn = "arn:aws:events:eu-central-1:123456789012:event-bus/answers"
  }
}
