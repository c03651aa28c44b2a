"""The real server, which lives in the other environment: this one has no HTTP server, nor its clients."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT

Ask = Callable[[list[int], int], str]


@contextmanager
def served(artefact: Path) -> Iterator[Ask]:
    """Serve an artefact; gives a function that streams a greedy completion of token ids, and gives its text."""
    environ = {**os.environ, "FIREBRICK_MODEL_DIR": str(artefact), "AWS_LWA_PORT": "0"}
    command = [str(ROOT / ".venv/bin/python"), "-m", "handler"]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            yield lambda prompt, count: _ask(ready["url"], ready["model"], prompt, count)
        finally:
            process.terminate()


def _ask(url: str, model: str, prompt: list[int], count: int) -> str:
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": count,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
    }
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        chunks = [json.loads(line[6:]) for line in response if line.startswith(b"data: {")]
    assert len(chunks) > 2
    return "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
