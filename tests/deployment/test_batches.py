"""Batches and the example's pipeline: what was applied, run by moto's interpreter, answered by the demo model."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.leftovers import aws
from tests.deployment.workspace import KEYS, ROOT, Workspace
from tests.image.local.lambda_process import LocalLambda, local_lambda

WORKER = f"{sys.executable} -m awslambdaric handler.worker.function.handle"
VALIDATOR = ROOT / "build/asl/node_modules/asl-validator/dist/bin/asl-validator.js"
PIPELINE = ROOT / "examples/pipeline/pipeline.asl.json"
PATIENCE_S = 300
EXTRACT = "Extract name, city and order as JSON."
LETTER = "Hello, my name is {} and I live in {}. On {} I ordered {}, order number {}."
LETTERS = {
    "mara.txt": LETTER.format("Mara Weston", "Tessin", "14 May", "3 brass lamps", "KD-4821"),
    "tom.txt": LETTER.format("Tom Halden", "Marlow", "2 June", "5 oak chairs", "RT-1093"),
}
ORDERS = [
    {"name": "Mara Weston", "city": "Tessin", "order": "KD-4821"},
    {"name": "Tom Halden", "city": "Marlow", "order": "RT-1093"},
]
SUMS = {"first": ("347 + 285", "632"), "second": ("12 + 30", "42"), "third": ("50 + 8", "58")}


@dataclass
class Batches:
    """The state machine of a deployment, its buckets and the worker's log."""

    endpoint: str
    outputs: dict[str, Any]
    running: LocalLambda

    @cached_property
    def s3(self) -> Any:
        """boto3's client."""
        return aws(self.endpoint, "s3")

    @cached_property
    def states(self) -> Any:
        """boto3's client."""
        return aws(self.endpoint, "stepfunctions")

    def put(self, key: str, text: str) -> None:
        """Put an object into the input bucket."""
        self.s3.put_object(Bucket=self.outputs["buckets"]["input"], Key=key, Body=text.encode())

    def results(self, batch: str) -> dict[str, str]:
        """The texts of a batch, by the rest of their keys."""
        bucket = self.outputs["buckets"]["results"]
        prefix = f"results/{batch}."
        found = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {
            item["Key"].removeprefix(prefix).removesuffix(".json"): json.load(
                self.s3.get_object(Bucket=bucket, Key=item["Key"])["Body"]
            )["text"]
            for item in found
        }

    def start(self, execution: str, /, **given: Any) -> str:
        """Start an execution of that name."""
        arn = self.outputs["batches_arn"]
        started = self.states.start_execution(stateMachineArn=arn, name=execution, input=json.dumps(given))
        return str(started["executionArn"])

    def wait(self, execution: str) -> dict[str, Any]:
        """Wait for an execution's end."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            ended: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            if ended["status"] != "RUNNING":
                return ended
            assert time.monotonic() < deadline, self.running.lines[-40:]
            time.sleep(0.05)

    def run(self, execution: str, /, **given: Any) -> dict[str, Any]:
        """Start an execution of that name and wait for its end."""
        return self.wait(self.start(execution, **given))

    def counts(self, ended: dict[str, Any]) -> tuple[int, int]:
        """How many items of an execution were answered, and how many failed."""
        (run,) = self.states.list_map_runs(executionArn=ended["executionArn"])["mapRuns"]
        items = self.states.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]
        return items["succeeded"], items["failed"]

    def told(self, message: str) -> int:
        """How often the worker's log has a message."""
        return sum(f'"message":"{message}"' in line for line in self.running.lines)


@pytest.fixture(scope="module")
def batches(deployed: Workspace, lambda_port: int) -> Iterator[Batches]:
    outputs = deployed.outputs()
    given = ["--command", WORKER, "--deployed", outputs["functions"]["worker"], "--api-port", str(lambda_port)]
    # The deployment's three seconds are for other tests; concurrency is what the state machine counts on.
    given += ["--network", "host", "--timeout", "60", "--concurrency", "2"]
    given += ["--env", f"AWS_ENDPOINT_URL={deployed.endpoint}", "--env", f"FIREBRICK_MODEL_DIR={ROOT / 'build/demo'}"]
    with local_lambda(*given, AWS_ENDPOINT_URL=deployed.endpoint, **KEYS) as running:
        batches = Batches(deployed.endpoint, outputs, running)
        for name, text in LETTERS.items():
            batches.put(f"letters/{name}", text)
        batches.put("questions.csv", "id,text\n" + "".join(f"{id},What is {sum}?\n" for id, (sum, _) in SUMS.items()))
        yield batches
    bucket = outputs["buckets"]["results"]  # Other tests count what is there.
    for item in batches.s3.list_objects_v2(Bucket=bucket)["Contents"]:
        batches.s3.delete_object(Bucket=bucket, Key=item["Key"])


def test_each_object_of_a_prefix_has_its_answer(batches: Batches) -> None:
    ended = batches.run("objects", prefix="letters/", instruction=EXTRACT, max_tokens=60, temperature=0)
    assert ended["status"] == "SUCCEEDED"
    assert batches.counts(ended) == (2, 0)
    results = batches.results("objects")
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in results)
    assert sorted(results.values()) == [json.dumps(order) for order in ORDERS]


def test_each_row_has_its_answer(batches: Batches) -> None:
    ended = batches.run("rows", csv="questions.csv", instruction="Please tell me.", temperature=0)
    assert batches.counts(ended) == (3, 0)
    results = batches.results("rows")
    assert {id: answer in results[id] for id, (_, answer) in SUMS.items()} == dict.fromkeys(SUMS, True)


def test_each_line_of_openais_form_has_its_answer(batches: Batches) -> None:
    bodies = {id: {"messages": [{"role": "user", "content": f"What is {sum}?"}]} for id, (sum, _) in SUMS.items()}
    lines = [
        {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body} for id, body in bodies.items()
    ]
    batches.put("requests.jsonl", "\n".join(map(json.dumps, lines)))
    assert batches.counts(batches.run("lines", jsonl="requests.jsonl")) == (3, 0)
    results = batches.results("lines")
    assert {id: answer in results[id] for id, (_, answer) in SUMS.items()} == dict.fromkeys(SUMS, True)


def test_a_system_prompt_and_a_schema_reach_the_worker(batches: Batches) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    batches.put("one.csv", "id,text\none,What is 1 + 1?\n")
    said = [
        {"role": "system", "content": "Answer as JSON."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
    ]
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    ended = batches.run(
        "schema", csv="one.csv", instruction="Tell me:", messages=said, response_format=form, max_tokens=80
    )
    assert batches.counts(ended) == (1, 0), batches.running.lines[-5:]
    assert re.match(r'\{\s*"n"\s*:', batches.results("schema")["one"])


def test_the_same_batch_again_generates_nothing(batches: Batches) -> None:
    rows = {"csv": "questions.csv", "instruction": "Please tell me.", "name": "twice"}
    batches.run("twice-1", **rows)
    before, answered, repeated = batches.results("twice"), batches.told("answered"), batches.told("repeated")
    assert batches.counts(batches.run("twice-2", **rows)) == (3, 0)
    assert batches.results("twice") == before
    assert (batches.told("answered") - answered, batches.told("repeated") - repeated) == (0, 3)


def test_another_version_of_an_object_is_another_job(batches: Batches) -> None:
    letters = {"prefix": "versions/", "instruction": EXTRACT, "name": "versions"}
    for number, text in enumerate(LETTERS.values()):
        batches.put("versions/letter.txt", text)
        batches.run(f"versions-{number}", **letters)
    assert len(batches.results("versions")) == 2


def test_a_refused_item_fails_alone_and_is_asked_once(batches: Batches) -> None:
    batches.put("refused/good.txt", LETTERS["mara.txt"])
    batches.put("refused/long.txt", "word " * 3000)
    failed = batches.told("failed")
    ended = batches.run("refused", prefix="refused/", instruction=EXTRACT, tolerated_failure_percentage=50)
    assert ended["status"] == "SUCCEEDED"
    assert batches.counts(ended) == (1, 1)
    assert len(batches.results("refused")) == 1
    assert batches.told("failed") - failed == 1
    assert any("ContextLengthExceeded" in line for line in batches.running.lines)


def test_too_many_failures_fail_the_batch(batches: Batches) -> None:
    batches.put("mixed.csv", "id,text\ngood,What is 1 + 1?\nbad id!,What is 2 + 2?\n")
    ended = batches.run("mixed", csv="mixed.csv", instruction="Please tell me.")
    assert (ended["status"], ended["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")
    assert list(batches.results("mixed")) == ["good"]


def test_what_is_throttled_is_tried_again(batches: Batches) -> None:
    rows = {"csv": "questions.csv", "instruction": "Please tell me."}
    started = [batches.start(f"busy-{number}", **rows) for number in range(2)]  # four at a time for two environments
    assert [batches.counts(batches.wait(execution)) for execution in started] == [(3, 0), (3, 0)]


@pytest.mark.parametrize("given", [{}, {"prefix": "letters/"}, {"csv": "questions.csv"}, {"instruction": EXTRACT}])
def test_an_incomplete_input_is_told(batches: Batches, given: dict[str, str]) -> None:
    ended = batches.run(f"incomplete-{'-'.join(given)}", **given)
    assert (ended["status"], ended["error"]) == ("FAILED", "InputIncomplete")
    assert "docs/batches.md" in ended["cause"]


@pytest.mark.parametrize("form", ["prefix", "csv", "jsonl"])
def test_the_outputs_command_starts_a_batch(batches: Batches, form: str) -> None:
    words = shlex.split(batches.outputs["batch_commands"][form])
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert words[:3] == ["aws", "stepfunctions", "start-execution"]
    assert given["--state-machine-arn"] == batches.outputs["batches_arn"]
    batches.put("requests.jsonl", '{"custom_id": "a", "body": {"prompt": "A"}}')
    ended = batches.run(given["--name"], **json.loads(given["--input"]))
    assert ended["status"] == "SUCCEEDED", ended
    assert batches.results(given["--name"])


def test_the_report_lies_below_the_executions_name(batches: Batches) -> None:
    ended = batches.run("report", csv="questions.csv", instruction="Please tell me.")
    details = json.loads(ended["output"])["ResultWriterDetails"]
    assert details["Bucket"] == batches.outputs["buckets"]["results"]
    assert re.fullmatch(r"batches/report/[^/]+/manifest\.json", details["Key"])


# ---------------------------------------------------------------- the example


def test_the_pipeline_retrieves_and_then_synthesizes(batches: Batches) -> None:
    given = {"WORKER": batches.outputs["functions"]["worker"], "BUCKET": batches.outputs["buckets"]["input"]}
    given |= {"ROLE": batches.outputs["batches_role_arn"], "LOOK_FOR": EXTRACT, "AWS_ENDPOINT_URL": batches.endpoint}
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    batches.put("pipeline/long.txt", "word " * 3000)
    for name, text in LETTERS.items():
        batches.put(f"pipeline/{name}", text)
    command = [sys.executable, "examples/pipeline/ask.py", "pipeline/", "Who ordered lamps?"]
    done = subprocess.run(
        command, cwd=ROOT, env={**clean, **KEYS, **given}, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n", 3)
    notes = [json.dumps(order) for order in ORDERS]
    assert lines[:3] == [
        "pipeline/long.txt: ContextLengthExceeded",
        f"pipeline/mara.txt: {notes[0]}",
        f"pipeline/tom.txt: {notes[1]}",
    ]
    asked = f"Who ordered lamps?\n{json.dumps(notes, separators=(',', ':'))}"
    event = {"messages": [{"role": "user", "content": asked}], "max_tokens": 200, "temperature": 0}
    answer = batches.running.client().invoke(FunctionName=given["WORKER"], Payload=json.dumps(event))
    assert lines[3] == json.load(answer["Payload"])["text"] + "\n"
    made = batches.outputs["batches_arn"].replace("-batches", "-pipeline")
    batches.states.delete_state_machine(stateMachineArn=made)  # It isn't Terraform's.


# ---------------------------------------------------------------- what moto doesn't check


@pytest.mark.skipif(not VALIDATOR.is_file(), reason="NOT TESTED: `make smoke-deploy` installs asl-validator by npm")
def test_the_definitions_are_valid(batches: Batches, tmp_path: Path) -> None:
    path = tmp_path / "batches.json"
    path.write_text(batches.states.describe_state_machine(stateMachineArn=batches.outputs["batches_arn"])["definition"])
    command = ["node", str(VALIDATOR), "--json-path", str(path), "--json-path", str(PIPELINE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("is valid") == 2
