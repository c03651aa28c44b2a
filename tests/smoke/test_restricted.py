"""Both images start with as little as Lambda gives."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.smoke.containers import STREAM, WORKER
from tests.smoke.restricted import Stream, run


def ask(url: str, **members: Any) -> list[dict[str, Any]]:
    """Ask for a stream; return its chunks."""
    with urllib.request.urlopen(f"{url}/v1/models") as answer:
        model = json.load(answer)["data"][0]["id"]
    body = {"model": model, "prompt": "What is", "stream": True, "max_tokens": 8, **members}
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        lines = [line.strip() for line in answer if line.startswith(b"data: ")]
    assert lines.pop() == b"data: [DONE]"
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


@pytest.mark.parametrize(
    "options",
    [(), ("--memory", "512m"), ("--cpus", "1"), ("--cpuset-cpus", "0")],
    ids=["plain", "512m", "quota", "one-cpu"],
)
def test_the_stream_function_streams(options: tuple[str, ...]) -> None:
    with Stream(STREAM, *options) as stream:
        stream.ready()
        with urllib.request.urlopen(f"{stream.url}/health") as answer:
            assert answer.status == 200
        assert len(ask(stream.url)) > 1
        assert stream.words == []  # nobody complains of what isn't there


def test_the_memory_size_decides_on_threads() -> None:
    with Stream(STREAM, "--env", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769") as stream:
        assert stream.ready()["threads"] == 1


def test_nothing_is_compiled_at_the_start() -> None:
    done = run(STREAM, "-v", "-c", "import handler.http.app, handler.engine.engine")
    lines = done.stderr.splitlines()
    code = [line for line in lines if line.startswith("# code object from '/opt/firebrick")]
    assert [line for line in code if not line.endswith(".pyc'")] == []
    assert len([line for line in lines if line.startswith("import ") and "BundledLoader" in line]) > 100


def test_a_damaged_artefact_is_one_line_and_exit_code_2() -> None:
    with Stream(STREAM, "--env", "FIREBRICK_MODEL_DIR=/opt/firebrick/app") as stream:
        assert stream.ended() == 2
        assert [line.startswith("firebrick: /opt/firebrick/app/") for line in stream.words] == [True]


def test_the_workers_dependencies_load() -> None:
    done = run(
        WORKER, "-c", "import awslambdaric, aws_lambda_powertools, boto3, handler.engine.engine; print('loaded')"
    )
    assert (done.stdout, done.returncode) == ("loaded\n", 0), done.stderr


def test_the_worker_polls_for_itself_as_another_command() -> None:
    done = run(WORKER, "-m", "handler.worker.poll", options=("--env", "FIREBRICK_QUEUE_URL=jobs"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("firebrick: FIREBRICK_QUEUE_URL='jobs' is not valid")
