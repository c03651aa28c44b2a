"""The real process with a native artefact, and what it says where it can't start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.kernels.models import needs_library
from tests.server import Server

pytestmark = needs_library


def refusal(model_dir: Path, **environ: str) -> str:
    command = [sys.executable, "-m", "handler", "--model-dir", str(model_dir), "--port", "0"]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    return done.stderr


@pytest.mark.parametrize("isa", ["", "portable"])
def test_it_answers_with_any_instructions(native_artefact: Path, isa: str) -> None:
    server = Server(native_artefact, FIREBRICK_VERIFY="quick", FIREBRICK_ISA=isa)
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is 347 + 285?"}]
    with server.client() as client:
        answer = client.chat.completions.create(model=server.model, messages=messages, temperature=0)
    assert "632" in str(answer.choices[0].message.content)
    assert server.end() == (0, "")


@pytest.mark.parametrize("verify", ["quick", "full"])
def test_without_the_library_it_says_what_to_do(native_artefact: Path, tmp_path: Path, verify: str) -> None:
    said = refusal(native_artefact, FIREBRICK_KERNELS=str(tmp_path / "none.so"), FIREBRICK_VERIFY=verify)
    assert "none.so is missing" in said
    assert "make setup" in said


def test_instructions_that_are_not_there_are_refused(native_artefact: Path) -> None:
    said = refusal(native_artefact, FIREBRICK_ISA="avx1024")
    assert said.startswith('firebrick: FIREBRICK_ISA is "avx1024"; this processor has ')
