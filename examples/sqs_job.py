"""A job for the worker function through its queue, and its result from the bucket: `pip install boto3`.

QUEUE_URL=… RESULTS_BUCKET=… python examples/sqs_job.py "What is Firebrick?"; `make deploy` prints both.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid

import boto3

PATIENCE_S = 900
question = " ".join(sys.argv[1:]) or "What is Firebrick?"
key = str(uuid.uuid4())  # The same key again would be the same job, done once.

boto3.client("sqs").send_message(
    QueueUrl=os.environ["QUEUE_URL"],
    MessageBody=json.dumps({"messages": [{"role": "user", "content": question}], "max_tokens": 200}),
    MessageAttributes={"idempotency_key": {"DataType": "String", "StringValue": key}},
)

bucket = boto3.client("s3")
deadline = time.monotonic() + PATIENCE_S
while True:
    try:
        stored = bucket.get_object(Bucket=os.environ["RESULTS_BUCKET"], Key=f"results/{key}.json")
        break
    except bucket.exceptions.NoSuchKey:
        if time.monotonic() > deadline:
            sys.exit(f"no result of {key} after {PATIENCE_S} s: look at the dead-letter queue")
        time.sleep(1)
result = json.load(stored["Body"])
print(result["text"])
print(f"{result['usage']['completion_tokens']} tokens, {result['finish_reason']}")
