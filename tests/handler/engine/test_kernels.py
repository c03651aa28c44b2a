from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from handler.artefact import Artefact, load_artefact
from handler.engine import kernels
from handler.engine.kernels import NAME, describe, given_library, library_of, library_path, register
from handler.errors import KernelsMissing, KernelsUnusable
from tests.conftest import ROOT
from tests.kernels.models import LIBRARY, needs_library


@pytest.fixture(scope="module")
def native(demo_artefact: Path) -> Artefact:
    """An artefact that asks for native kernels."""
    return replace(load_artefact(demo_artefact, "quick"), kernels="native", kv_cache_dtype="float16")


def test_the_library_lies_in_the_package() -> None:
    assert library_path(given_library({})) == Path(kernels.__file__).parent.parent / NAME


def test_another_one_can_be_named() -> None:
    assert library_path(given_library({"FIREBRICK_KERNELS": "/k/x.so"})) == Path("/k/x.so")


def test_stock_kernels_need_none(native: Artefact) -> None:
    assert library_of(replace(native, kernels="stock"), Path("/none.so")) is None


def test_a_missing_library_is_named_with_both_remedies(native: Artefact, tmp_path: Path) -> None:
    with pytest.raises(KernelsMissing) as refused:
        library_of(native, tmp_path / "none.so")
    for words in (str(tmp_path / "none.so"), "make setup", f"model_export.convert {native.directory} --kernels stock"):
        assert words in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_a_library_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(KernelsUnusable, match=f"{NAME} can't be loaded"):
        register(onnxruntime.SessionOptions(), path)
    with pytest.raises(KernelsUnusable, match=f"{NAME} can't be loaded"):
        describe(path)


def test_another_library_is_none_of_ours() -> None:
    import ctypes.util

    path = Path(str(ctypes.util.find_library("m")))
    with pytest.raises(KernelsUnusable):
        describe(path)
    with pytest.raises(KernelsUnusable):
        register(onnxruntime.SessionOptions(), path)


@needs_library
def test_the_library_describes_itself() -> None:
    said = describe(LIBRARY)
    assert said.isa in said.available
    assert said.available[-1] == "portable"
    assert said.error is None


@needs_library
@pytest.mark.parametrize("isa", ["avx1024", "AVX2", " "])
def test_instructions_that_are_not_there_are_refused_with_those_that_are(isa: str) -> None:
    code = (
        "import onnxruntime\n"
        "from handler.errors import IsaUnavailable\n"
        "from handler.engine.kernels import describe, register\n"
        "from tests.kernels.models import LIBRARY\n"
        "try: register(onnxruntime.SessionOptions(), LIBRARY)\n"
        "except IsaUnavailable as error: print(error)\n"
        "print(describe(LIBRARY).isa)\n"
    )
    environ = {**os.environ, "FIREBRICK_ISA": isa}
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environ, text=True).splitlines()
    assert said[0].startswith(f'FIREBRICK_ISA is "{isa}"; this processor has ')
    assert "portable" in said[0]
    assert said[1] == "None"
