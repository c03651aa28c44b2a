from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_export.errors import ModelNotFound
from model_export.source import resolve
from tests.conftest import ROOT


def test_a_directory_is_itself(tmp_path: Path) -> None:
    directory = tmp_path / "my model"
    directory.mkdir()
    source = resolve(str(directory), None)
    assert (source.directory, source.model_id, source.revision) == (directory, "my-model", None)


@pytest.mark.parametrize("name", ["./missing", "/nowhere/at/all", "a/b/c", "", "no spaces/here"])
def test_neither_directory_nor_hub_id(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name:
        with pytest.raises(ModelNotFound, match="neither a directory nor a hub id"):
            resolve(name, None)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelNotFound, match="is a file"):
        resolve(str(tmp_path / "model.safetensors"), None)


def test_a_revision_goes_with_a_hub_id(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="--revision main"):
        resolve(str(tmp_path), "main")


@contextmanager
def hub(status: int, **headers: str) -> Iterator[str]:
    """A hub that answers everything alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", "2")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"{}")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def export(home: Path, endpoint: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the exporter as a user would, its cache empty and its hub elsewhere."""
    command = [sys.executable, "-m", "model_export", "meta-llama/Llama-3.2-3B", "--out", str(home / "out"), *arguments]
    variables = {"HF_HOME": str(home / "hf"), "HF_ENDPOINT": endpoint, "PATH": "/usr/bin:/bin", **environ}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("code", "status", "arguments", "message"),
    [
        ("GatedRepo", 403, [], "is gated: accept its terms"),
        ("RepoNotFound", 401, [], "the hub knows no repository"),
        ("RevisionNotFound", 404, ["--revision", "v9"], "has no revision 'v9'"),
    ],
)
def test_the_hubs_reason_and_what_to_do(
    tmp_path: Path, code: str, status: int, arguments: list[str], message: str
) -> None:
    with hub(status, X_Error_Code=code, X_Error_Message="because I say so") as endpoint:
        result = export(tmp_path, endpoint, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_no_network_and_no_cache(tmp_path: Path) -> None:
    result = export(tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert result.returncode == 2
    assert "give a directory" in result.stderr
    assert "Traceback" not in result.stderr
