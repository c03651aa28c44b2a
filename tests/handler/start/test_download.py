"""A model in moto's S3, with and without what goes wrong on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from handler.api.chat import parse_chat
from handler.artefact import REQUIRED, load_artefact
from handler.errors import (
    ArtefactDamaged,
    ArtefactMissing,
    BucketElsewhere,
    BucketMissing,
    DownloadForbidden,
    DownloadRefused,
    DownloadUnreachable,
    DownloadUnsigned,
    MemoryFilesUnavailable,
    ModelTooLarge,
    ObjectReplaced,
    SettingsError,
)
from handler.settings import S3Prefix, Settings
from handler.start import download
from handler.start.bucket import find_bucket
from handler.start.download import Download, begin, check_memory, read_listed
from handler.start.loading import load_model
from handler.start.memory_file import MemoryFile
from handler.turns import stepped
from model_export.convert import convert
from tests.conftest import ROOT
from tests.handler.start.faulty_s3 import (
    AT,
    BUCKET,
    KEYS,
    PREFIX,
    Fault,
    FaultyS3,
    busy,
    cut,
    dropped,
    elsewhere,
    faulty_s3,
    without_ranges,
)
from tests.kernels.models import needs_library

WEIGHTS = "model.safetensors"


@pytest.fixture
def s3(moto_url: str, demo_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """The demo in S3, in many ranges, for readers that have time and don't pause."""
    for name, value in {"CONNECT_TIMEOUT_S": 60.0, "READ_TIMEOUT_S": 60.0, "PAUSE_S": 0.0}.items():
        monkeypatch.setattr(f"handler.start.bucket.{name}", value)
    monkeypatch.setattr(download, "PIECE", 2**19)
    with faulty_s3(moto_url, demo_artefact) as made:
        yield made
    httpx.post(f"{moto_url}/moto-api/reset-auth", content=b"inf").raise_for_status()
    httpx.post(f"{moto_url}/moto-api/reset").raise_for_status()


def whole(s3: FaultyS3, environ: dict[str, str] | None = None) -> Download:
    found = begin(AT, s3.environ if environ is None else environ)
    found.wait(WEIGHTS)
    found.describe()
    return found


def first_ids(settings: Settings, environ: dict[str, str]) -> list[int]:
    model, _ = load_model(settings, threads=1, environ=environ)
    chat = {"messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 5}
    task = parse_chat(chat | {"model": model.served.model_id}, model.served).tasks(model.prompts)[0]
    tokens = model.generate(task.prompt_ids, task.sampling, task.max_tokens, (), model.new_cancellation())
    return [token.id for token in stepped(tokens, model.step)]


def test_a_model_from_s3_says_what_the_same_one_from_a_directory_says(s3: FaultyS3, demo_artefact: Path) -> None:
    assert first_ids(Settings(AT), s3.environ) == first_ids(Settings(demo_artefact), {})


@needs_library
def test_native_kernels_compute_with_the_file_in_memory(s3: FaultyS3, native_artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text("Once upon a time there was a little girl who lived by the sea.")
    convert(native_artefact, tmp_path / "artefact", "native", "int8", prefix_files=[tmp_path / "story.txt"])
    for path in (tmp_path / "artefact").iterdir():
        s3.put(path.name, path.read_bytes())
    model, parts = load_model(Settings(AT), threads=1, environ=s3.environ)
    assert model.prefixes
    assert parts["download_ms"] > 0
    assert first_ids(Settings(AT), s3.environ) == first_ids(Settings(tmp_path / "artefact"), {})


def test_it_is_the_same_artefact(s3: FaultyS3, demo_artefact: Path) -> None:
    there, here = whole(s3).describe(), load_artefact(demo_artefact)
    for name in ("model_id", "fingerprint", "cache_key", "prefixes", "context_length", "sampling_defaults"):
        assert getattr(there, name) == getattr(here, name)
    written = s3.client.head_object(Bucket=BUCKET, Key=AT.key("firebrick.json"))["LastModified"]
    assert there.created == int(written.timestamp())


def test_the_start_tells_bytes_requests_and_retries(s3: FaultyS3, demo_artefact: Path) -> None:
    s3.proxy.faults = {WEIGHTS: [busy, cut]}
    _, parts = load_model(Settings(AT), threads=1, environ=s3.environ)
    read = [path for path in demo_artefact.iterdir() if path.name not in ("tokenizer.json", "manifest.json")]
    assert parts["download_bytes"] == sum(path.stat().st_size for path in read)
    assert parts["download_requests"] == len(s3.proxy.paths)
    assert parts["download_retries"] == 2
    assert parts.ended["download"] > 0


def test_what_the_handler_never_reads_is_not_loaded(s3: FaultyS3) -> None:
    whole(s3)
    assert not [path for path in s3.proxy.paths if path.endswith("tokenizer.json")]


NOTHING_IS_WRITTEN = """
import os, sys
written = []
def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(arguments[0])
sys.addaudithook(hook)
from handler.settings import read_settings
from handler.start.loading import load_model
load_model(read_settings(os.environ), 1, environ=os.environ)
print(written, end="")
"""


def test_no_file_is_written(s3: FaultyS3) -> None:
    environ = {**os.environ, **s3.environ, "FIREBRICK_MODEL_DIR": str(AT), "PYTHONDONTWRITEBYTECODE": "1"}
    said = subprocess.check_output([sys.executable, "-c", NOTHING_IS_WRITTEN], cwd=ROOT, env=environ, text=True)
    assert said == "[]"


@pytest.mark.parametrize("fault", [busy, cut, dropped])
@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.kit", WEIGHTS])
def test_what_goes_wrong_for_a_while_is_asked_for_again(s3: FaultyS3, name: str, fault: Fault) -> None:
    s3.proxy.faults = {name: [fault, fault, fault]}
    assert whole(s3).describe().model_id == "firebrick-demo"
    assert s3.proxy.faults == {name: []}


def test_a_range_goes_on_where_it_broke_off(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.start.bucket.AT_ONCE", 2**12)
    s3.proxy.faults = {WEIGHTS: [cut] * 40}  # more than attempts without a byte may be
    whole(s3)


@pytest.mark.parametrize(("fault", "told"), [(busy, "503 SlowDown"), (dropped, "RemoteDisconnected")])
def test_what_stays_wrong_is_told(s3: FaultyS3, fault: Fault, told: str) -> None:
    s3.proxy.faults = {"tokenizer.kit": [fault] * 100}
    with pytest.raises(DownloadUnreachable, match=rf"s3://{BUCKET}/{PREFIX}/tokenizer\.kit .*{told}"):
        whole(s3)


def test_an_object_that_is_replaced_under_way_is_not_mixed(s3: FaultyS3) -> None:
    content = s3.read(WEIGHTS)

    def replaced(request: Any) -> bool:
        s3.put(WEIGHTS, bytes(len(content)))
        return False

    s3.proxy.faults = {WEIGHTS: [lambda request: False, replaced]}
    with pytest.raises(ObjectReplaced, match=r"model\.safetensors was replaced while it was read"):
        whole(s3)


@pytest.mark.parametrize("name", ["firebrick.json", "model.onnx", "tokenizer.kit", WEIGHTS])
def test_a_flipped_byte_is_found(s3: FaultyS3, name: str) -> None:
    content = bytearray(s3.read(name))
    content[len(content) // 2] ^= 1
    s3.put(name, bytes(content))
    with pytest.raises(ArtefactDamaged, match=f"{PREFIX}/{name} is damaged: its sha256 isn't the manifest's"):
        whole(s3)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0"])
def test_another_size_is_found(s3: FaultyS3, change: Callable[[bytes], bytes]) -> None:
    s3.put(WEIGHTS, change(s3.read(WEIGHTS)))
    with pytest.raises(ArtefactDamaged, match=r"model\.safetensors has (\d+|fewer) bytes"):
        whole(s3)


@pytest.mark.parametrize("name", ["manifest.json", "firebrick.json", WEIGHTS])
def test_a_missing_file_is_named(s3: FaultyS3, name: str) -> None:
    s3.delete(name)
    with pytest.raises(ArtefactMissing, match=f"{PREFIX}/{name} is missing"):
        whole(s3)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"files": []}', b'{"files": {}}', b"\xff", b"[" * 9999])
def test_a_manifest_that_is_none_is_refused(s3: FaultyS3, content: bytes) -> None:
    s3.put("manifest.json", content)
    with pytest.raises(ArtefactDamaged, match=r"manifest\.json"):
        whole(s3)


def test_a_manifest_without_an_end_is_refused(s3: FaultyS3) -> None:
    s3.put("manifest.json", bytes(2**20 + 1))
    with pytest.raises(ArtefactDamaged, match="more than 1048576 bytes"):
        whole(s3)


GOOD = {"size": 1, "sha256": "0" * 64}
BAD = [None, {}, GOOD | {"size": 0}, GOOD | {"size": -1}, GOOD | {"size": True}, GOOD | {"size": 2**60}, {"size": 1}]


@pytest.mark.parametrize("entry", [*BAD, GOOD | {"sha256": "x"}])
def test_a_malformed_entry_is_refused(entry: object) -> None:
    files = dict.fromkeys(REQUIRED, GOOD) | {"model.onnx": entry}
    with pytest.raises(ArtefactDamaged, match=r"malformed entry 'model\.onnx'"):
        read_listed(files, "manifest.json")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a" * 101, "\n"])
def test_a_name_that_is_no_plain_one_is_refused(name: str) -> None:
    files = dict.fromkeys(REQUIRED, GOOD) | {name: GOOD}
    with pytest.raises(ArtefactDamaged, match="malformed entry"):
        read_listed(files, "manifest.json")


def test_signatures_are_what_aws_wants_and_without_the_right_nothing_is_read(s3: FaultyS3, moto_url: str) -> None:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    iam = boto3.client("iam", endpoint_url=moto_url, region_name="us-east-1", **keys)
    iam.create_user(UserName="function")
    key = iam.create_access_key(UserName="function")["AccessKey"]
    mine = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    # Past the proxy, for moto checks the host that is signed.
    environ = {**s3.environ, "AWS_ENDPOINT_URL_S3": moto_url, **mine}
    right = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/{PREFIX}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [right]})
    iam.put_user_policy(UserName="function", PolicyName="read", PolicyDocument=policy)
    httpx.post(f"{moto_url}/moto-api/reset-auth", content=b"1").raise_for_status()
    whole(s3, environ)
    with pytest.raises(DownloadForbidden, match="SignatureDoesNotMatch"):
        whole(s3, environ | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    httpx.post(f"{moto_url}/moto-api/reset-auth", content=b"1").raise_for_status()
    iam.delete_user_policy(UserName="function", PolicyName="read")
    iam.close()
    with pytest.raises(DownloadForbidden, match=r"AccessDenied.*the role needs s3:GetObject"):
        whole(s3, environ)


def test_a_bucket_that_is_not_there_is_named(s3: FaultyS3) -> None:
    with pytest.raises(BucketMissing, match=r"no bucket other-models"):
        begin(S3Prefix("other-models", PREFIX), s3.environ)


def test_a_bucket_in_another_region_is_told(s3: FaultyS3) -> None:
    s3.proxy.faults = {"manifest.json": [elsewhere]}
    with pytest.raises(BucketElsewhere, match="is in eu-west-3, not in us-east-1"):
        whole(s3)


def test_a_server_without_ranges_is_refused(s3: FaultyS3) -> None:
    s3.proxy.faults = {WEIGHTS: [without_ranges] * 100}
    with pytest.raises(DownloadRefused, match="all bytes for bytes"):
        whole(s3)


@pytest.mark.parametrize("kernels", ["native", "stock"])
def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(kernels: str, s3: FaultyS3) -> None:
    with pytest.raises(ModelTooLarge, match=r"doesn't fit the memory.*256 MiB, and there are 257 MiB \(Lambda memory"):
        whole(s3, s3.environ | {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "257"})
    assert [path.rsplit("/", 1)[-1] for path in s3.proxy.paths] == ["manifest.json"]


def test_stock_kernels_need_room_for_the_weights_twice(s3: FaultyS3) -> None:
    assert whole(s3).describe().kernels == "stock"
    with pytest.raises(ModelTooLarge, match="it takes 5 MiB"):
        whole(s3, s3.environ | {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "260"})


def test_the_smallest_limit_counts() -> None:
    check_memory(AT, 2**20, {})
    with pytest.raises(ModelTooLarge, match="cgroup limit"):
        check_memory(AT, 2**30, {"cgroup limit": 2**30, "available memory": 2**40})


@pytest.mark.parametrize(("missing", "error"), [("AWS_REGION", SettingsError), ("AWS_ACCESS_KEY_ID", DownloadUnsigned)])
def test_what_the_environment_lacks_is_told(missing: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=missing):
        find_bucket(AT, {name: value for name, value in KEYS.items() if name != missing})


@pytest.mark.parametrize("url", ["127.0.0.1:1", "ftp://x", "http://x/path", "http://x:port"])
def test_an_endpoint_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL"):
        find_bucket(AT, KEYS | {"AWS_ENDPOINT_URL": url})


@pytest.mark.parametrize(
    ("bucket", "region", "host", "root"),
    [
        ("models", "us-east-1", "models.s3.us-east-1.amazonaws.com", ""),
        ("my.models", "eu-west-1", "s3.eu-west-1.amazonaws.com", "/my.models"),
        ("models", "cn-north-1", "models.s3.cn-north-1.amazonaws.com.cn", ""),
    ],
)
def test_a_bucket_has_its_host(bucket: str, region: str, host: str, root: str) -> None:
    found = find_bucket(S3Prefix(bucket, "p"), KEYS | {"AWS_REGION": region})
    assert (found.host, found.port, found.root) == (host, None, root)
    assert found.tls is not None


def test_a_sealed_file_can_be_read_and_never_written() -> None:
    file = MemoryFile("name", 3)
    file.view[:] = b"abc"
    file.seal(1_000_000.0)
    assert (file.path.read_bytes(), file.path.stat().st_mtime) == (b"abc", 1_000_000.0)
    with file.path.open("r+b", buffering=0) as written, pytest.raises(PermissionError):
        written.write(b"x")


def test_a_system_without_files_in_memory_is_told(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", refused)
    with pytest.raises(MemoryFilesUnavailable, match="Function not implemented"):
        whole(s3)


def test_the_server_ends_with_one_line(s3: FaultyS3) -> None:
    s3.put(WEIGHTS, bytes(len(s3.read(WEIGHTS))))
    environ = {**os.environ, **s3.environ, "FIREBRICK_MODEL_DIR": str(AT), "AWS_LWA_PORT": "0"}
    done = subprocess.run([sys.executable, "-m", "handler"], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"firebrick: {AT}/{WEIGHTS} is damaged")
    assert done.stderr.count("\n") == 1
