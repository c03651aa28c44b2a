"""Init, time-outs, crashes, freezing, shutdown: with awslambdaric in plain processes."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from image.local.__main__ import main
from tests.image.local.lambda_process import FUNCTIONS, STREAMER, LocalLambda, local_lambda, wait_until

EXTENSION = """#!{python}
import http.client, json, os, sys
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def ask(method, path, body=None, **headers):
    headers = {{"Lambda-Extension-" + key: value for key, value in headers.items()}}
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    return answer.headers, json.loads(answer.read())
events = json.dumps({{"events": ["INVOKE", "SHUTDOWN"]}})
headers, described = ask("POST", "register", events, Name=os.path.basename(__file__))
print("registered for", described["functionName"], flush=True)
me = headers["Lambda-Extension-Identifier"]
while True:
    _, event = ask("GET", "event/next", Identifier=me)
    print("extension got", event["eventType"], event.get("shutdownReason", ""), flush=True)
    if event["eventType"] == "SHUTDOWN" or {crash}:
        sys.exit()
"""


def write_extension(directory: Path, crash: bool = False) -> Path:
    """Make an extension that prints its events, and ends at the first if it is to crash."""
    path = directory / "watcher"
    path.write_text(EXTENSION.format(python=sys.executable, crash=crash))
    path.chmod(0o755)
    return path


def state(pid: int) -> str:
    """Return the kernel's letter for a process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]


def test_the_first_invoke_reports_the_init_phase() -> None:
    with local_lambda("--command", FUNCTIONS) as running:
        running.invoke({})
        first = running.report()
        running.invoke({})
        second = running.report(2)
    assert "\tInit Duration: " in first
    assert "\tMemory Size: 3008 MB\tMax Memory Used: " in first
    assert "Init Duration" not in second
    assert "Status" not in first


def test_a_time_out() -> None:
    with local_lambda("--command", FUNCTIONS, "--timeout", "0.5") as running:
        payload, error = running.invoke({"do": "wait", "here": "/dev/null", "there": "/not/there"})
        report = running.report()
        again = running.invoke({})
    assert (payload["errorType"], error) == ("Sandbox.Timedout", "Unhandled")
    assert payload["errorMessage"].endswith("Error: Task timed out after 0.50 seconds")
    assert report.endswith("\tStatus: timeout")
    assert again[1] is None


@pytest.mark.parametrize(
    ("code", "message"), [(3, "with error: exit status 3"), (0, "without providing a reason")], ids=["3", "0"]
)
def test_a_runtime_that_ends(code: int, message: str) -> None:
    with local_lambda("--command", FUNCTIONS) as running:
        payload, _ = running.invoke({"do": "exit", "code": code})
        report = running.report()
        again = running.invoke({})
    assert payload["errorType"] == "Runtime.ExitError"
    assert payload["errorMessage"].endswith(f"Error: Runtime exited {message}")
    assert report.endswith("\tStatus: error\tError Type: Runtime.ExitError")
    assert again[1] is None


def test_a_worker_killed_at_work(tmp_path: Path) -> None:
    here, results = tmp_path / "here", list[Any]()
    event = {"do": "wait", "here": str(here), "there": "/not/there"}
    with local_lambda("--command", FUNCTIONS) as running:
        busy = threading.Thread(target=lambda: results.append(running.invoke(event)))
        busy.start()
        wait_until(here.exists)
        os.kill(running.child("awslambdaric"), signal.SIGKILL)
        busy.join()
        again = running.invoke({})
    assert results[0][0]["errorType"] == "Runtime.ExitError"
    assert results[0][0]["errorMessage"].endswith("signal: killed")
    assert again[1] is None


def test_a_runtime_killed_between_invokes() -> None:
    with local_lambda("--command", FUNCTIONS) as running:
        first, _ = running.invoke({})
        os.kill(first["pid"], signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{first['pid']}").exists())
        second, error = running.invoke({})
    assert error is None
    assert second["pid"] != first["pid"]


def test_an_init_that_fails_once_is_tried_again_within_the_invoke(tmp_path: Path) -> None:
    with local_lambda("--command", FUNCTIONS, "--env", f"FAIL_ONCE={tmp_path / 'failed'}") as running:
        payload, error = running.invoke({})
        report = running.report()
    assert error is None, payload
    assert "Init Duration" not in report  # It is in the invoke's own duration.
    assert any("INIT_REPORT" in line and "Phase: init\tStatus: error" in line for line in running.lines)


def test_an_init_that_always_fails_is_tried_twice_an_invoke_and_no_more() -> None:
    with local_lambda("--command", FUNCTIONS, "--env", "FAIL_ALWAYS=1") as running:
        payload, error = running.invoke({})
        running.report()
        starts = [line for line in running.lines if line.startswith("INIT_REPORT ")]
    assert (payload["errorType"], payload["errorMessage"], error) == ("RuntimeError", "never", "Unhandled")
    assert [start.split("\t")[1] for start in starts] == ["Phase: init", "Phase: invoke"]


def test_a_command_that_ends_at_once() -> None:
    with local_lambda("--command", "sh -c 'echo no model; exit 2'") as running:
        payload, _ = running.invoke({})
    assert payload["errorMessage"].endswith("Error: Runtime exited with error: exit status 2")
    assert running.lines.count("no model") == 2


def test_an_entry_point_that_is_not_there() -> None:
    with local_lambda("--command", "sh -c /not/there") as running:
        payload, _ = running.invoke({})
    assert payload["errorType"] == "Runtime.InvalidEntrypoint"


def test_frozen_between_invokes() -> None:
    with local_lambda("--command", FUNCTIONS) as running:
        pid = running.invoke({})[0]["pid"]
        running.report()
        wait_until(lambda: state(pid) == "T")
        assert running.invoke({})[0]["pid"] == pid


def test_not_frozen_on_request() -> None:
    with local_lambda("--command", FUNCTIONS, "--no-freeze") as running:
        pid = running.invoke({})[0]["pid"]
        running.report()
        running.invoke({})
        wait_until(lambda: state(pid) == "S")


def test_an_extension_sees_invokes_and_the_end(tmp_path: Path) -> None:
    running = LocalLambda("--command", STREAMER, "--extension", str(write_extension(tmp_path)))
    running.invoke({"chunks": ["1"]})
    running.invoke({"chunks": ["2"]})
    assert running.end() == 0
    said = [line for line in running.lines if line.startswith(("registered", "extension", "runtime"))]
    assert said == [
        "registered for firebrick",
        "extension got INVOKE ",
        "extension got INVOKE ",
        "runtime got SIGTERM",
        "extension got SHUTDOWN spindown",
    ]


def test_without_extensions_the_end_is_sudden() -> None:
    running = LocalLambda("--command", STREAMER)
    running.invoke({"chunks": ["1"]})
    assert running.end() == 0
    assert "runtime got SIGTERM" not in running.lines


def test_an_extension_learns_of_a_time_out(tmp_path: Path) -> None:
    with local_lambda(
        "--command", FUNCTIONS, "--extension", str(write_extension(tmp_path)), "--timeout", "0.5"
    ) as running:
        running.invoke({"do": "wait", "here": "/dev/null", "there": "/not/there"})
        running.wait_for(lambda line: line == "extension got SHUTDOWN timeout")


def test_an_extension_that_crashes(tmp_path: Path) -> None:
    extension = write_extension(tmp_path, crash=True)
    waiting = {"do": "wait", "here": "/dev/null", "there": "/not/there"}
    with local_lambda("--command", FUNCTIONS, "--extension", str(extension)) as running:
        payload, _ = running.invoke(waiting)
    assert payload["errorType"] == "Extension.Crash"
    assert "watcher" in payload["errorMessage"]


def test_an_extension_that_never_registers(tmp_path: Path) -> None:
    path = tmp_path / "silent"
    path.write_text("#!/bin/sh\nexit 4\n")
    path.chmod(0o755)
    with local_lambda("--command", FUNCTIONS, "--extension", str(path)) as running:
        payload, _ = running.invoke({})
    assert payload["errorType"] == "Extension.Crash"


def test_the_end_while_invoking(tmp_path: Path) -> None:
    here, results = tmp_path / "here", list[Any]()
    event = {"do": "wait", "here": str(here), "there": "/not/there"}
    running = LocalLambda("--command", FUNCTIONS)
    busy = threading.Thread(target=lambda: results.append(running.invoke(event)))
    busy.start()
    wait_until(here.exists)
    pid = running.child("awslambdaric")
    assert running.end() == 0
    busy.join()
    assert results[0][0]["errorType"] == "Sandbox.Failure"
    assert not Path(f"/proc/{pid}").exists()


def test_a_second_function_in_a_network_of_its_own() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    with local_lambda("--command", STREAMER, "--network", "private", "--concurrency", "2") as running:
        answer = running.client().invoke(FunctionName="firebrick", Payload=b'{"chunks": ["a", "b"]}')
    assert answer["Payload"].read() == b"ab"


def test_a_port_in_use_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["--command", "sh", "--port", port], {}) == 2
    assert capfd.readouterr().err == (
        f"local Lambda: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another with --port, 0 for any\n"
    )
