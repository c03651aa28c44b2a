from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from huggingface_hub import constants

from bench.checkpoint import write_checkpoint
from model_export.errors import ModelNotFound
from model_export.source import Source, resolve
from tests.configs import CONFIGS
from tests.conftest import ROOT
from tests.model_export.gguf.helpers import write_gguf
from tests.model_export.helpers import export_to, tree

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """A hub with one repository, `owner/model`; others are refused in the way that their names say."""

    files: ClassVar[Path]
    refusals: ClassVar = {
        "gated": (403, "GatedRepo", "Access to model owner/gated is restricted."),
        "unknown": (404, "RepoNotFound", "Repository not found"),
        "forbidden": (401, "", "Invalid credentials in Authorization header"),
        "broken": (400, "", "the hub has hiccups"),
    }
    requested: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        names = [self.refusals[part] for part in parts if part in self.refusals]
        if names:
            self._refuse(*names[0])
        elif "gone" in parts:
            self._refuse(404, "RevisionNotFound", "Invalid rev id: gone")
        elif parts[:4] == ["api", "models", "owner", "model"]:
            self._tree() if "tree" in parts else self._info()
        elif parts[:3] == ["owner", "model", "resolve"]:
            name = "/".join(parts[4:])
            self.requested.append(name)
            etag = f'"{name.replace("/", "-")}"'
            self._send(200, (self.files / name).read_bytes(), {"X-Repo-Commit": COMMIT, "ETag": etag})
        else:
            self._refuse(404, "", "not here")

    do_HEAD = do_GET  # noqa: N815  the name that http.server looks for

    def _info(self) -> None:
        siblings = [{"rfilename": name} for name in self._names()]
        self._send(200, json.dumps({"id": "owner/model", "sha": COMMIT, "siblings": siblings}).encode(), {})

    def _tree(self) -> None:
        entries = [
            {"type": "file", "path": name, "size": (self.files / name).stat().st_size, "oid": name}
            for name in self._names()
        ]
        self._send(200, json.dumps(entries).encode(), {})

    def _names(self) -> list[str]:
        return sorted(str(path.relative_to(self.files)) for path in self.files.rglob("*") if path.is_file())

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and nobody's token."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def hub(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    Hub.files, Hub.requested = tmp_path / "files", []
    write_checkpoint(CONFIGS["qwen2"], Hub.files, shards=2)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield Hub
    server.shutdown()
    thread.join()
    server.server_close()


# ---------------------------------------------------------------- directories


def test_a_directory_is_taken_as_it_is(checkpoint: Path) -> None:
    assert resolve(str(checkpoint), None) == Source(checkpoint, "checkpoint", None)


def test_a_revision_goes_with_the_hub_alone(checkpoint: Path) -> None:
    with pytest.raises(ModelNotFound, match="--revision main goes with a hub id"):
        resolve(str(checkpoint), "main")


def test_a_file_is_no_checkpoint(checkpoint: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"checkpoint's directory, or a file that ends in \.gguf"):
        resolve(str(checkpoint / "model.safetensors"), None)


@pytest.mark.parametrize(
    "model", ["", "nonsense", "a/b/c", "/no/such/directory", "owner/", "ow ner/x", "../x", "x\0/y"]
)
def test_what_is_neither_directory_nor_hub_id(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # where nothing lies that a name could mean
    with pytest.raises(ModelNotFound, match="neither a directory nor a GGUF file nor a hub id"):
        resolve(model, None)


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(ModelNotFound, match="neither a directory nor a GGUF file nor a hub id"):
        resolve("x" * 300, None)


def test_a_revision_goes_with_no_gguf_file(checkpoint: Path, tmp_path: Path) -> None:
    path = write_gguf(checkpoint, tmp_path / "x.gguf")
    with pytest.raises(ModelNotFound, match=r"--revision main goes with a hub id, but .*x\.gguf is a file"):
        resolve(str(path), "main")


# ---------------------------------------------------------------- the hub


def test_a_model_of_the_hub_is_downloaded_and_exported(hub: type[Hub], tmp_path: Path) -> None:
    (hub.files / "pytorch_model.bin").write_bytes(b"the same weights again")
    (hub.files / "consolidated.safetensors").write_bytes(b"and again")
    source = resolve("owner/model", None)
    assert (source.model_id, source.revision) == ("owner/model", COMMIT)
    assert not {"pytorch_model.bin", "consolidated.safetensors"} & set(hub.requested)
    ours = tree(export_to(hub.files, tmp_path / "ours", name="x"))
    theirs = tree(export_to(source.path, tmp_path / "theirs", name="x"))
    assert ours == theirs


def test_of_folders_only_what_says_how_vectors_are_made_is_wanted(hub: type[Hub]) -> None:
    for name in ("1_Pooling/config.json", "original/consolidated.00.pth", "2_Dense/model.safetensors"):
        (hub.files / name).parent.mkdir()
        (hub.files / name).write_text("{}")
    directory = resolve("owner/model", None).directory
    assert (directory / "1_Pooling" / "config.json").is_file()
    assert {name for name in hub.requested if "/" in name} == {"1_Pooling/config.json"}


def test_of_a_repository_one_gguf_file_can_be_meant(hub: type[Hub], tmp_path: Path) -> None:
    (hub.files / "Q8").mkdir()
    write_gguf(hub.files, hub.files / "Q8" / "x.gguf", "Q8_0", split_max_tensors=20)
    wanted = ["Q8/x-00001-of-00002.gguf", "Q8/x-00002-of-00002.gguf"]
    source = resolve(f"owner/model/{wanted[1]}", None)
    assert (source.model_id, source.revision, source.tensors is None) == ("x", COMMIT, False)
    assert sorted({*hub.requested}) == wanted


def test_a_gguf_file_that_the_repository_has_not(hub: type[Hub]) -> None:
    with pytest.raises(ModelNotFound, match=r"owner/model has no file no\.gguf"):
        resolve("owner/model/no.gguf", None)


def test_what_was_downloaded_once_is_there_without_a_net(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve("owner/model", None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve("owner/model", None) == first


@pytest.mark.parametrize(
    ("name", "reason", "advice"),
    [
        ("gated", "Access to model owner/gated is restricted", "accept its terms.*HF_TOKEN"),
        ("unknown", "Repository not found", "check the name, and set HF_TOKEN"),
        ("forbidden", "Invalid credentials in Authorization header", "HF_TOKEN"),
        ("broken", "the hub has hiccups", "could not be downloaded"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_a_refusal_gives_the_hub_s_reason_and_what_to_do(name: str, reason: str, advice: str) -> None:
    with pytest.raises(ModelNotFound, match=f"owner/{name}.*{advice}") as refused:
        resolve(f"owner/{name}", None)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("hub")
def test_a_revision_that_is_not_there() -> None:
    with pytest.raises(ModelNotFound, match=r"owner/model has no revision 'gone'.*Invalid rev id: gone"):
        resolve("owner/model", "gone")


@pytest.mark.usefixtures("hub")
def test_a_refusal_ends_the_command_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "model_export", "owner/gated", "--out", str(tmp_path / "out")]
    environ = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": constants.ENDPOINT}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: owner/gated is gated")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cache")
def test_no_hub_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelNotFound, match="the hub can't be reached: connect, set HF_ENDPOINT, or give a directory"):
        resolve("owner/model", None)


@pytest.mark.usefixtures("cache")
def test_offline_by_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFound, match=r"not in the local cache.*HF_HUB_OFFLINE"):
        resolve("owner/model", None)
