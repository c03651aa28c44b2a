"""A question about the documents below a prefix: retrieve in parallel, then synthesize. `pip install boto3`.

WORKER=… ROLE=… BUCKET=… python examples/pipeline/ask.py letters/ "Who ordered lamps?"; `terraform output` has them as
functions.worker, batches_role_arn and buckets.input. LOOK_FOR is what each document is asked, if not the question.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import boto3

PATIENCE_S = 900
prefix, question = sys.argv[1], sys.argv[2]
worker = os.environ["WORKER"]

states = boto3.client("stepfunctions")
machine = states.create_state_machine(  # The same once more gives the one that is there.
    name=worker.split(":")[0].replace("-worker", "-pipeline"),
    definition=(Path(__file__).parent / "pipeline.asl.json").read_text(),
    roleArn=os.environ["ROLE"],
)
given = {"worker": worker, "bucket": os.environ["BUCKET"], "prefix": prefix, "question": question}
given["look_for"] = os.environ.get("LOOK_FOR") or f"Quote what this says about the question: {question}"
execution = states.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps(given))

deadline = time.monotonic() + PATIENCE_S
while (ended := states.describe_execution(executionArn=execution["executionArn"]))["status"] == "RUNNING":
    if time.monotonic() > deadline:
        sys.exit(f"{execution['executionArn']} still runs after {PATIENCE_S} s")
    time.sleep(0.5)
if ended["status"] != "SUCCEEDED":
    sys.exit(f"{ended['status']}: {ended.get('error')} {ended.get('cause')}")
output = json.loads(ended["output"])
for note in output["notes"]:
    print(f"{note['document']}: {note.get('note', note.get('error'))}")
print(output["answer"]["text"])
