"""The stream function, as it was deployed: streamed answers by what `terraform output` says to paste."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from image.invoke import Target, client
from tests.deployment.functions import run_deployed
from tests.deployment.leftovers import aws
from tests.deployment.workspace import KEYS, Workspace
from tests.image.local.lambda_process import LocalLambda

QUESTION = [{"role": "user", "content": "What is a cold start?"}]


@pytest.fixture(scope="module")
def signed(deployed: Workspace) -> Iterator[LocalLambda]:
    with run_deployed(deployed, "stream") as running:
        target = Target(running.url.rstrip("/"), None, "us-east-1")
        assert stream(client(target))  # The first request starts the environment, whose log some tests read.
        yield running


@pytest.fixture(scope="module")
def keyed(with_key: Workspace) -> Iterator[LocalLambda]:
    with run_deployed(with_key, "stream") as running:
        yield running


def api_key(workspace: Workspace) -> str:
    key: str = aws(workspace.endpoint, "secretsmanager").get_secret_value(SecretId="fb-key/api-key")["SecretString"]
    return key


def here(text: str, workspace: Workspace, running: LocalLambda) -> str:
    """A text for pasting, with the local URL in place of the deployed one."""
    return text.replace(workspace.outputs()["url"], running.url)


def stream(caller: Any) -> list[str]:
    answer = caller.chat.completions.create(model="firebrick-demo", messages=QUESTION, max_tokens=20, stream=True)
    return [chunk.choices[0].delta.content for chunk in answer if chunk.choices and chunk.choices[0].delta.content]


def test_an_unsigned_request_is_forbidden(signed: LocalLambda) -> None:
    caller = openai.OpenAI(base_url=f"{signed.url}v1", api_key="none", max_retries=0)
    with pytest.raises(openai.PermissionDeniedError):
        stream(caller)


def test_the_python_snippet_streams(deployed: Workspace, signed: LocalLambda, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    pasted: dict[str, Any] = {}
    exec(here(deployed.outputs()["openai_snippet"], deployed, signed), pasted)
    assert len(stream(pasted["client"])) > 5


def test_the_curl_command_streams(deployed: Workspace, signed: LocalLambda) -> None:
    command = here(deployed.outputs()["curl_command"], deployed, signed)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={**deployed.environ})
    assert done.stdout.count("data: {") > 5, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("data: [DONE]")


def test_make_invoke_streams(deployed: Workspace, signed: LocalLambda) -> None:
    command = [".venv/bin/python", "-m", "image.invoke", "What is a cold start?", "--url", signed.url]
    done = subprocess.run(command, cwd=deployed.root, capture_output=True, text=True, env=deployed.environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) > 5


def test_it_runs_in_the_deployed_environment(signed: LocalLambda) -> None:
    ready = json.loads(signed.wait_for(lambda line: '"ready_ms"' in line))
    assert ready["threads"] == 6  # OMP_NUM_THREADS of 10,240 MB
    assert "Memory Size: 10240 MB" in signed.report()


def test_metrics_are_written_under_the_functions_own_name(signed: LocalLambda) -> None:
    line = json.loads(signed.wait_for(lambda line: '"_aws"' in line and '"FirstTokenTime"' in line))
    assert line["service"] == "firebrick-stream"
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Firebrick"


def test_without_iam_the_key_out_of_secrets_manager_opens(with_key: Workspace, keyed: LocalLambda) -> None:
    caller = openai.OpenAI(base_url=f"{keyed.url}v1", api_key=api_key(with_key), max_retries=0)
    assert len(stream(caller)) > 5


def test_without_the_key_nothing_opens(keyed: LocalLambda) -> None:
    caller = openai.OpenAI(base_url=f"{keyed.url}v1", api_key="guessed", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stream(caller)


def test_the_curl_command_with_a_key_streams(with_key: Workspace, keyed: LocalLambda) -> None:
    command = here(with_key.outputs()["curl_command"], with_key, keyed)
    environ = {**with_key.environ, "FIREBRICK_API_KEY": api_key(with_key)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environ)
    assert done.stdout.rstrip().endswith("data: [DONE]"), done.stdout + done.stderr
