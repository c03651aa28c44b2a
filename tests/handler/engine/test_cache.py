from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handler.artefact import Artefact, load_artefact
from handler.engine.cache import PARTS, allocate


@pytest.fixture(scope="module")
def artefact(demo_artefact: Path) -> Artefact:
    return replace(
        load_artefact(demo_artefact, "quick"),
        num_hidden_layers=2,
        num_key_value_heads=3,
        head_dim=16,
        context_length=40,
    )


@pytest.mark.parametrize(("name", "dtype"), [("float32", np.float32), ("float16", np.float16), ("int8", np.int8)])
def test_keys_and_values_have_the_artefact_s_dtype(artefact: Artefact, name: str, dtype: type[np.generic]) -> None:
    cache = allocate(replace(artefact, kv_cache_dtype=name), 1, 40)
    for part in ("0.key", "0.value", "1.key", "1.value"):
        assert (cache[part].dtype.type, cache[part].shape) == (dtype, (1, 3, 40, 16))


def test_an_int8_cache_has_a_scale_for_each_token_and_head(artefact: Artefact) -> None:
    cache = allocate(replace(artefact, kv_cache_dtype="int8"), 1, 40)
    assert len(cache) == 8
    for part in ("0.key_scale", "1.value_scale"):
        assert (cache[part].dtype.type, cache[part].shape) == (np.float32, (1, 3, 40))


@pytest.mark.parametrize("name", PARTS)
def test_it_is_empty(artefact: Artefact, name: str) -> None:
    assert not any(part.any() for part in allocate(replace(artefact, kv_cache_dtype=name), 1, 7).values())


def test_what_is_not_touched_takes_no_memory(artefact: Artefact) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    cache = allocate(replace(artefact, kv_cache_dtype="float16"), 1, 1_000_000)
    assert sum(part.nbytes for part in cache.values()) > 300_000_000
    cache["0.key"][0, 0, 0] = 1
    assert resident() - before < 10_000_000
