from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.artefact import load_artefact
from handler.errors import ArtefactDamaged, ArtefactError, ArtefactMissing, ArtefactVersion
from model_export.artefact import FILES, write_manifest

SMALL = sorted(FILES - {"model.safetensors", "manifest.json"})


@pytest.fixture
def directory(demo_artefact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_artefact, tmp_path / "artefact"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(directory: Path, change: Any) -> None:
    """Change firebrick.json and the manifest with it, as a faulty exporter would."""
    path = directory / "firebrick.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))
    (directory / "manifest.json").unlink()
    write_manifest(directory, {})


def test_a_whole_artefact_is_described(directory: Path) -> None:
    artefact = load_artefact(directory)
    assert artefact.model_id == "firebrick-demo"
    assert artefact.eos_token_ids
    assert artefact.context_length >= 1024
    assert len(artefact.fingerprint) == 12


@pytest.mark.parametrize("name", [*SMALL, "model.safetensors"])
def test_a_flipped_byte_is_found_in_every_file(directory: Path, name: str) -> None:
    flip(directory / name)
    with pytest.raises(ArtefactError, match=name.replace(".", r"\.")):
        load_artefact(directory)


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"tokenizer.json"}))
def test_the_quick_way_finds_it_in_all_that_the_handler_reads_but_the_weights(directory: Path, name: str) -> None:
    flip(directory / name)
    with pytest.raises(ArtefactError, match=name.replace(".", r"\.")):
        load_artefact(directory, "quick")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_the_quick_way_leaves_the_rest_to_whoever_built_the_image(directory: Path, name: str) -> None:
    flip(directory / name)
    assert load_artefact(directory, "quick").model_id == "firebrick-demo"


@pytest.fixture
def with_prefixes(directory: Path) -> Path:
    """The same with files that the manifest lists as prefixes."""
    for number in (10, 2, 1):
        (directory / f"prefix-{number}.kv").write_bytes(b"prefix")
    write_manifest(directory, {})
    return directory


def test_prefixes_are_in_their_order(with_prefixes: Path) -> None:
    assert load_artefact(with_prefixes).prefixes == ("prefix-1.kv", "prefix-2.kv", "prefix-10.kv")


def test_what_the_manifest_does_not_list_is_no_prefix(directory: Path) -> None:
    (directory / "prefix-1.kv").write_bytes(b"prefix")
    assert load_artefact(directory).prefixes == ()


def test_a_prefix_is_hashed_like_the_weights(with_prefixes: Path) -> None:
    flip(with_prefixes / "prefix-2.kv")
    assert len(load_artefact(with_prefixes, "quick").prefixes) == 3
    with pytest.raises(ArtefactDamaged, match=r"prefix-2\.kv is damaged"):
        load_artefact(with_prefixes, "full")
    (with_prefixes / "prefix-2.kv").write_bytes(b"pre")
    with pytest.raises(ArtefactDamaged, match=r"prefix-2\.kv has 3 bytes instead of 6"):
        load_artefact(with_prefixes, "quick")


def test_the_cache_s_key_is_that_of_graph_and_weights(directory: Path) -> None:
    before = load_artefact(directory).cache_key
    rewrite(directory, lambda d: d.update(model={"id": "other", "revision": None}))
    assert load_artefact(directory).cache_key == before
    flip(directory / "model.onnx")
    write_manifest(directory, {})
    assert load_artefact(directory).cache_key != before


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("verify", ["full", "quick"])
def test_a_truncated_file_is_found_either_way(directory: Path, verify: Any, name: str) -> None:
    path = directory / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtefactDamaged, match="bytes instead of"):
        load_artefact(directory, verify)


@pytest.mark.parametrize("name", [*SMALL, "model.safetensors", "manifest.json"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(ArtefactMissing, match=name.replace(".", r"\.")):
        load_artefact(directory)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ArtefactMissing, match="no directory"):
        load_artefact(tmp_path / "none")


@pytest.mark.parametrize("version", [0, 3, "1", True, None])
def test_another_format_version_is_refused(directory: Path, version: Any) -> None:
    rewrite(directory, lambda d: d.update(format_version=version))
    with pytest.raises(ArtefactVersion, match="format_version"):
        load_artefact(directory)


def test_unknown_kernels_are_refused(directory: Path) -> None:
    rewrite(directory, lambda d: d.update(kernels="warp"))
    with pytest.raises(ArtefactVersion, match="warp"):
        load_artefact(directory)


@pytest.mark.parametrize(
    ("kernels", "cache"),
    [("stock", "float16"), ("stock", None), ("native", "float32"), ("native", ["int8"]), (["native"], "int8")],
)
def test_kernels_and_a_cache_that_do_not_go_together_are_refused(directory: Path, kernels: Any, cache: Any) -> None:
    rewrite(directory, lambda d: d.update(kernels=kernels, kv_cache_dtype=cache))
    with pytest.raises(ArtefactVersion, match="asks for"):
        load_artefact(directory)


@pytest.mark.parametrize(("kernels", "cache"), [("stock", "float32"), ("native", "float16"), ("native", "int8")])
def test_every_kind_of_kernels_is_described(directory: Path, kernels: str, cache: str) -> None:
    rewrite(directory, lambda d: d.update(kernels=kernels, kv_cache_dtype=cache))
    artefact = load_artefact(directory)
    assert (artefact.kernels, artefact.kv_cache_dtype) == (kernels, cache)


def test_a_manifest_may_not_point_elsewhere(directory: Path) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"sha256": "", "size": 0}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactDamaged, match="malformed entry"):
        load_artefact(directory)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = (
    *("model", "context_length", "vocab_size", "num_hidden_layers", "num_key_value_heads", "head_dim"),
    *("tokenizer", "sampling_defaults", "tool_format", "reasoning_format"),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KEYS), value=JSON | st.just(...))
def test_any_other_description_is_an_error_of_its_own_or_harmless(directory: Path, key: str, value: Any) -> None:
    before = (directory / "firebrick.json").read_text()
    try:
        rewrite(directory, lambda d: d.pop(key) if value is ... else d.update({key: value}))
        load_artefact(directory, "quick")
    except ArtefactError:
        pass
    finally:
        (directory / "firebrick.json").write_text(before)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("context_length", float("inf")),
        ("context_length", 0),
        ("context_length", -5),
        ("vocab_size", 10**400),
        ("vocab_size", "many"),
        ("num_hidden_layers", True),
        ("head_dim", 12.5),
        ("model", {"id": None, "revision": None}),
        ("model", {"id": "a", "revision": 5}),
        ("tool_format", 5),
        ("reasoning_format", ["think"]),
        ("sampling_defaults", {"temperature": 10**400}),
        ("sampling_defaults", {"top_k": float("inf")}),
        ("sampling_defaults", {"top_p": "most"}),
    ],
)
def test_an_impossible_description_is_refused(directory: Path, key: str, value: Any) -> None:
    rewrite(directory, lambda d: d.update({key: value}))
    with pytest.raises(ArtefactDamaged, match=r"firebrick\.json"):
        load_artefact(directory, "quick")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bos_token_id", "<s>"),
        ("bos_token_id", True),
        ("bos_token", 5),
        ("eos_token_ids", [1, "2"]),
        ("eos_token_ids", None),
        ("prefix_ids", [float("inf")]),
        ("prefix_ids", [-1]),
        ("suffix_ids", ...),
    ],
)
def test_an_impossible_tokenizer_is_refused(directory: Path, key: str, value: Any) -> None:
    rewrite(directory, lambda d: d["tokenizer"].pop(key) if value is ... else d["tokenizer"].update({key: value}))
    with pytest.raises(ArtefactDamaged, match=r"firebrick\.json"):
        load_artefact(directory, "quick")


@pytest.mark.parametrize("name", ["x" * 300, "..", "/etc/passwd", "a/b"])
def test_a_manifest_names_files_of_its_directory_alone(directory: Path, name: str) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": "", "size": 0}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError):
        load_artefact(directory)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"{}"])
def test_a_manifest_that_is_none_is_refused(directory: Path, content: bytes) -> None:
    (directory / "manifest.json").write_bytes(content)
    with pytest.raises(ArtefactDamaged, match=r"manifest\.json"):
        load_artefact(directory)


def test_formats_of_calls_and_thoughts_may_be_left_to_the_handler(directory: Path) -> None:
    rewrite(directory, lambda d: (d.pop("tool_format", None), d.pop("reasoning_format", None)))
    artefact = load_artefact(directory, "quick")
    assert (artefact.tool_format, artefact.reasoning_format) == (None, None)
    rewrite(directory, lambda d: d.update({"tool_format": "mistral", "reasoning_format": "none"}))
    artefact = load_artefact(directory, "quick")
    assert (artefact.tool_format, artefact.reasoning_format) == ("mistral", "none")
