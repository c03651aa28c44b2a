from __future__ import annotations

from pathlib import Path

import pytest

from bench.llama_cpp import build
from bench.llama_cpp.errors import BuildFailed, NotBuilt, SourceUnavailable, ToolMissing
from tests.bench.llama_cpp.conftest import Install


def tools(directory: Path, **scripts: str) -> str:
    """A PATH with nothing but these programs."""
    for name, script in scripts.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    return str(directory)


def test_a_variant_says_every_instruction_set() -> None:
    plain, wide = build.definitions("avx2"), build.definitions("avx512")
    assert plain.keys() == wide.keys()
    assert {name for name in plain if plain[name] != wide[name]} == {f"GGML_{name}" for name in build.AVX512}
    assert plain["GGML_NATIVE"] == wide["GGML_NATIVE"] == "OFF"
    assert plain["GGML_AVX2"] == "ON"


def test_the_native_variant_leaves_it_to_the_compiler() -> None:
    assert build.definitions("native").keys() - build.COMMON.keys() == {"GGML_NATIVE"}


def test_a_program_that_is_not_built_names_the_command(directory: Path) -> None:
    with pytest.raises(NotBuilt, match=r"bench\.llama_cpp build --isa avx512"):
        build.program("llama-bench", "avx512")


def test_a_program_is_found(install: Install) -> None:
    path = install("llama-bench", "")
    assert build.program("llama-bench", "avx2") == path


@pytest.mark.parametrize(("name", "package"), [("cmake", "cmake"), ("make", "make"), ("c++", r"g\+\+")])
def test_a_missing_tool_names_the_package(
    name: str, package: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = {"cmake": "", "make": "", "c++": ""}
    del present[name]
    monkeypatch.setenv("PATH", tools(directory, **present))
    with pytest.raises(ToolMissing, match=f"apt-get install {package}$"):
        build.build("avx2", 1)


def test_a_failing_compiler_is_quoted(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.LLAMA.mkdir(parents=True)
    monkeypatch.setenv("PATH", tools(directory, **{"cmake": "echo no such flag; exit 7", "make": "", "c++": ""}))
    with pytest.raises(BuildFailed, match=r"exited with 7:\nno such flag"):
        build.build("avx2", 1)


def test_an_index_without_the_sdist_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    with pytest.raises(SourceUnavailable, match=f"llama-cpp-python {build.VERSION}"):
        build.fetch()
    assert not build.SOURCE.exists()


def test_another_sdist_than_the_pinned_one_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / f"llama_cpp_python-{build.VERSION}.tar.gz").write_bytes(b"something else")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    with pytest.raises(SourceUnavailable, match=build.SHA256):
        build.fetch()


def test_a_source_that_is_there_is_not_fetched_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.LLAMA.mkdir(parents=True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    build.fetch()
