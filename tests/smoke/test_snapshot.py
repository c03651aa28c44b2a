"""The real server, stored by CRIU with its memory and threads, and restored twice; each copy has its own namespaces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.port import free_port

TOOLS = ("criu", "unshare", "ip")
MISSING = [name for name in TOOLS if shutil.which(name) is None] or (["root"] if os.geteuid() else [])
BEFORE, AFTER = "/snapshot/before", "/snapshot/after"
ENVIRON = {
    "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
    "AWS_LAMBDA_FUNCTION_NAME": "stream",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3008",
    "AWS_REGION": "us-east-1",
    "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": BEFORE,
    "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": AFTER,
    "FIREBRICK_VERIFY": "quick",
}
FREE: dict[str, Any] = {"prompt": "Once", "max_tokens": 24, "min_tokens": 24, "temperature": 2}
ASK = """
import http.client, json, sys
url, asked = json.loads(sys.argv[1])
for path, body in asked:
    connection = http.client.HTTPConnection(url, timeout=60)
    connection.request("POST", path, body and json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    print(json.dumps([answer.status, answer.read().decode()]), flush=True)
"""

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"NOT TESTED: {' and '.join(MISSING)} not there")


def ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Wait until a server answers; a pipe through which it could say so would lead out of its copies."""
    deadline = time.monotonic() + 60
    while True:
        try:
            assert httpx.get(url + "/health").status_code == 200
            return
        except httpx.TransportError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)


def store(process: subprocess.Popen[bytes], images: Path) -> None:
    """Store a server; it ends with that."""
    dump = ["criu", "dump", "--tree", str(process.pid), "--images-dir", str(images), "--log-file", "dump.log"]
    done = subprocess.run(dump, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, (images / "dump.log").read_text(errors="replace")[-2000:]
    assert process.wait(60) == -signal.SIGKILL


def ask_copy(images: Path, address: str, asked: Sequence[tuple[str, Any]]) -> list[tuple[int, Any]]:
    """Restore a copy, alone with its process ids and its loopback, and ask it; it ends with the last answer."""
    script = 'ip link set lo up && criu restore --restore-detached --images-dir "$0" && exec "$@"'
    client = [sys.executable, "-c", ASK, json.dumps([address, asked])]
    alone = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, str(images)]
    done = subprocess.run([*alone, *client], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [(status, json.loads(text) if text else None) for status, text in answers]


@pytest.fixture(scope="module")
def copies(demo_artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[int, Any]]]:
    """What two copies of one server answer to the same requests."""
    images = tmp_path_factory.mktemp("images")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "handler", "--model-dir", str(demo_artefact), "--port", str(port)],
        env={**os.environ, **ENVIRON},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ready(process, url)
        assert httpx.post(url + BEFORE).status_code == 204
        store(process, images)
    finally:
        process.kill()
    asked = [(AFTER, None), ("/v1/completions", FREE), ("/v1/completions", FREE | {"seed": 7})]
    return [ask_copy(images, f"127.0.0.1:{port}", asked) for _ in range(2)]


def test_each_copy_answers(copies: list[list[tuple[int, Any]]]) -> None:
    assert [[status for status, _ in answers] for answers in copies] == [[204, 200, 200]] * 2


def test_no_two_answers_have_the_same_id(copies: list[list[tuple[int, Any]]]) -> None:
    ids = [answer["id"] for answers in copies for _, answer in answers[1:]]
    assert len(set(ids)) == 4


def test_without_a_seed_the_copies_say_different_things(copies: list[list[tuple[int, Any]]]) -> None:
    one, other = (answers[1][1]["choices"][0]["text"] for answers in copies)
    assert one != other


def test_with_a_seed_they_say_the_same(copies: list[list[tuple[int, Any]]]) -> None:
    one, other = (answers[2][1]["choices"][0]["text"] for answers in copies)
    assert one == other != ""


def test_the_first_answer_of_each_has_the_restore(copies: list[list[tuple[int, Any]]]) -> None:
    for answers in copies:
        assert ["restore_ms" in answer["timings"] for _, answer in answers[1:]] == [True, False]
