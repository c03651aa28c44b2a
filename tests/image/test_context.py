"""What goes into a build, and what doesn't."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest

from handler.errors import ArtefactDamaged
from image.context import BUILDING, LAUNCHER, ROOT, artefact_files, build_context, handler_files
from image.errors import KernelsMissing

LIBRARY = "handler/libfirebrick_kernels.so"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone without the kernels' library."""
    root = tmp_path / "clone"
    for path in (*BUILDING, *handler_files()):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, root / path)
    return root


@pytest.fixture
def artefact(demo_artefact: Path, tmp_path: Path) -> Path:
    """A copy of the demo's artefact, to be changed."""
    return Path(shutil.copytree(demo_artefact, tmp_path / "artefact"))


def as_stock(artefact: Path) -> Path:
    """Let the description say that it needs no library, and the manifest agree."""
    description = json.loads((artefact / "firebrick.json").read_text())
    description |= {"kernels": "stock", "kv_cache_dtype": "float32"}
    return _described(artefact, description)


def as_native(artefact: Path) -> Path:
    """Let the description say that it needs the library, and the manifest agree."""
    description = json.loads((artefact / "firebrick.json").read_text())
    description |= {"kernels": "native", "kv_cache_dtype": "int8"}
    return _described(artefact, description)


def _described(artefact: Path, description: object) -> Path:
    data = json.dumps(description).encode()
    (artefact / "firebrick.json").write_bytes(data)
    manifest = json.loads((artefact / "manifest.json").read_text())
    manifest["files"]["firebrick.json"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (artefact / "manifest.json").write_text(json.dumps(manifest))
    return artefact


def test_it_holds_code_requirements_and_artefact_and_nothing_else(clone: Path, artefact: Path) -> None:
    (clone / "handler" / "__pycache__").mkdir()
    (clone / "handler" / "__pycache__" / "x.pyc").touch()
    (clone / "notes.txt").touch()
    with build_context(as_stock(artefact), clone) as context:
        found = {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()}
    expected = {*BUILDING, *handler_files(), *(f"model/{name}" for name in artefact_files(artefact))}
    assert found == expected


def test_the_library_is_taken_where_it_is_built(clone: Path, artefact: Path) -> None:
    (clone / LIBRARY).write_bytes(b"library")
    with build_context(as_native(artefact), clone) as context:
        assert (context / LIBRARY).read_bytes() == b"library"


def test_the_weights_are_linked_where_they_can_be(clone: Path, artefact: Path) -> None:
    with build_context(as_stock(artefact), clone) as context:
        assert (context / "model" / "model.safetensors").samefile(artefact / "model.safetensors")


def test_prefixes_are_taken_with_the_small_files(clone: Path, artefact: Path) -> None:
    as_stock(artefact)
    (artefact / "prefix-1.kv").write_bytes(b"prefix")
    manifest = json.loads((artefact / "manifest.json").read_text())
    entry = {"size": 6, "sha256": hashlib.sha256(b"prefix").hexdigest()}
    (artefact / "manifest.json").write_text(
        json.dumps(manifest | {"files": {**manifest["files"], "prefix-1.kv": entry}})
    )
    with build_context(artefact, clone) as context:
        assert (context / "model" / "prefix-1.kv").read_bytes() == b"prefix"
    # The Dockerfile's layer of all but the weights has them, by their name.
    pattern = re.search(r"\$\{MODEL_DIR\}/(\S*\*\S*)", (ROOT / "Dockerfile").read_text())
    assert pattern is not None
    assert fnmatch("prefix-1.kv", pattern[1].replace("[^", "[!"))


def test_modes_do_not_depend_on_the_clones(clone: Path, artefact: Path) -> None:
    (clone / "handler" / "settings.py").chmod(0o600)
    with build_context(as_stock(artefact), clone) as context:
        assert (context / "handler" / "settings.py").stat().st_mode & 0o777 == 0o644


def test_it_is_gone_afterwards(clone: Path, artefact: Path) -> None:
    with build_context(as_stock(artefact), clone):
        pass
    assert os.listdir(clone / "build" / "image") == []


def test_a_native_artefact_without_the_library_is_refused_with_both_ways_out(clone: Path, artefact: Path) -> None:
    with (
        pytest.raises(KernelsMissing, match=r"make setup.*model_export\.convert .* --kernels stock"),
        build_context(as_native(artefact), clone),
    ):
        pass


def test_damaged_weights_are_found_before_they_are_baked(clone: Path, artefact: Path) -> None:
    weights = bytearray((artefact / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (artefact / "model.safetensors").write_bytes(weights)
    with pytest.raises(ArtefactDamaged, match="damaged"), build_context(artefact, clone):
        pass


def test_terraform_hashes_the_same_files() -> None:
    text = (ROOT / "terraform/image.tf").read_text()
    hashed = re.findall(r'fileset\(local\.root, "([^"]+)"\)', text) + re.findall(r'"([\w./-]+)"', text)
    sources = (*BUILDING, *handler_files(), LIBRARY, LAUNCHER)
    assert [path for path in sources if not any(fnmatch(path, pattern.replace("**/", "*")) for pattern in hashed)] == []
