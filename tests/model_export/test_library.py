from __future__ import annotations

from pathlib import Path

import pytest

from model_export import library
from model_export.library import NAME, default_kernels, library_path, obstacle


def test_the_library_lies_beside_the_handler() -> None:
    assert library_path({}) == Path(library.__file__).parent.parent / "handler" / NAME


def test_another_one_can_be_named() -> None:
    assert library_path({"FIREBRICK_KERNELS": "/k/x.so"}) == Path("/k/x.so")


def test_a_missing_library_is_named_with_the_remedy(tmp_path: Path) -> None:
    assert obstacle(tmp_path / NAME) == f"{tmp_path / NAME} is missing (make setup builds it where there is cargo)"


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_a_library_that_is_none_is_an_obstacle(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert f"{NAME} can't be loaded (" in str(obstacle(tmp_path / NAME))


def test_without_a_library_kernels_are_stock(tmp_path: Path) -> None:
    kernels, reason = default_kernels("int4", 32, "int8", {"FIREBRICK_KERNELS": str(tmp_path / "none.so")})
    assert kernels == "stock"
    assert "none.so is missing" in str(reason)


@pytest.mark.parametrize(
    ("quantization", "block_size", "activations", "words"),
    [
        ("none", 32, "int8", "--quantization none"),
        ("int4", 64, "int8", "--block-size 64"),
        ("int4", 32, "float32", "--activations float32"),
    ],
)
def test_other_choices_make_them_stock(quantization: str, block_size: int, activations: str, words: str) -> None:
    kernels, reason = default_kernels(quantization, block_size, activations, {})
    assert kernels == "stock"
    assert str(reason).startswith(f"the native ones don't go with {words}")
