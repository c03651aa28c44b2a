from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from model_export import weights as weights_module
from model_export.checkpoint import Checkpoint
from model_export.config import load_config
from model_export.errors import CheckpointDamaged
from model_export.native import pack
from model_export.options import ExportOptions, Kernels
from model_export.quantize import quantize
from model_export.rows import ComputedRows
from model_export.storage import storage_of
from model_export.weights import EMBEDDING, HEAD, Weight, ordered, plan
from tests.configs import CONFIGS


def planned(checkpoints: Path, name: str, options: ExportOptions | None = None) -> dict[str, Weight]:
    directory = checkpoints / name
    config = load_config(directory)
    return {w.name: w for w in plan(config, options or ExportOptions(), Checkpoint.open(directory, config))}


def contents(weight: Weight, threads: int = 2) -> dict[str, bytes]:
    with ThreadPoolExecutor(threads) as pool:
        return {name: b"".join(map(bytes, pieces)) for name, pieces in weight.contents(pool, window=threads + 1)}


def some_weight(bits: int | None, kernels: Kernels = "stock") -> Weight:
    array = np.random.default_rng(0).standard_normal((37, 50)).astype(np.float32)
    return Weight("w", ComputedRows(array), bits, 32, storage=storage_of(kernels))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_plan_names_each_weight_once_in_order_of_use(name: str, checkpoints: Path) -> None:
    names = list(planned(checkpoints, name))
    assert names[0] == EMBEDDING
    assert names.index("model.layers.0.self_attn.qkv_proj.weight") < names.index("model.layers.0.mlp.down_proj.weight")
    assert names.index("model.layers.0.mlp.down_proj.weight") < names.index("model.layers.1.input_layernorm.weight")
    assert names[-1] == ("model.norm.weight" if CONFIGS[name]["tie_word_embeddings"] else HEAD)


def test_bits_of_matrices_and_of_the_rest(checkpoints: Path) -> None:
    found = planned(checkpoints, "llama-gqa2-bf16", ExportOptions(head_bits=8))
    assert found[EMBEDDING].bits == found[HEAD].bits == 8
    assert found["model.layers.0.mlp.down_proj.weight"].bits == 4
    assert found["model.norm.weight"].bits is None


def test_no_bits_without_quantization(checkpoints: Path) -> None:
    assert all(w.bits is None for w in planned(checkpoints, "qwen2", ExportOptions("none")).values())


def test_q_k_and_v_are_one_weight(checkpoints: Path) -> None:
    found = planned(checkpoints, "qwen2")
    assert found["model.layers.0.self_attn.qkv_proj.weight"].rows.shape == ((4 + 2) * 16, 64)
    assert found["model.layers.0.self_attn.qkv_proj.bias"].rows.shape == ((4 + 2) * 16,)
    assert "model.layers.0.self_attn.o_proj.bias" not in found


def test_padded_heads_are_padded_in_rows_and_columns(checkpoints: Path) -> None:
    found = planned(checkpoints, "llama-padded-heads")
    assert found["model.layers.0.self_attn.qkv_proj.weight"].rows.shape == (6 * 32, 72)
    assert found["model.layers.0.self_attn.o_proj.weight"].rows.shape == (72, 4 * 32)


@pytest.mark.parametrize(
    ("bits", "tensors"),
    [
        (None, [("w", "F32", (37, 50))]),
        (4, [("w", "U8", (37, 2, 16)), ("w_scale", "F32", (37, 2))]),
        (8, [("w", "U8", (37, 2, 32)), ("w_scale", "F32", (37, 2))]),
    ],
)
def test_stored_tensors(bits: int | None, tensors: list[tuple[str, str, tuple[int, ...]]]) -> None:
    assert [(t.name, t.dtype, t.shape) for t in some_weight(bits).tensors] == tensors


@pytest.mark.parametrize(("bits", "record"), [(4, 576), (8, 1088)])
def test_a_native_weight_is_one_tensor(bits: int, record: int) -> None:
    assert [(t.name, t.dtype, t.shape) for t in some_weight(bits, "native").tensors] == [("w", "U8", (3, 1, record))]


@pytest.mark.parametrize("kernels", ["stock", "native"])
@pytest.mark.parametrize("bits", [None, 4, 8])
def test_contents_are_as_long_as_promised(bits: int | None, kernels: Kernels) -> None:
    weight = some_weight(bits, kernels)
    found = contents(weight)
    assert {name: len(content) for name, content in found.items()} == {t.name: t.nbytes for t in weight.tensors}


@pytest.mark.parametrize("bits", [4, 8])
def test_slabs_and_threads_make_no_difference(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = some_weight(bits)
    whole = contents(weight, threads=1)
    monkeypatch.setattr(weights_module, "SLAB", 130)
    assert contents(weight, threads=3) == whole
    values, scales = quantize(weight.rows.read(0, 37), bits, 32)
    assert whole == {"w": values.tobytes(), "w_scale": scales.astype(np.float32).tobytes()}


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("slab", [1, 130, 900])
def test_native_slabs_are_whole_groups_of_rows(bits: int, slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = some_weight(bits, "native")
    monkeypatch.setattr(weights_module, "SLAB", slab)
    assert contents(weight, threads=3) == {"w": pack(*quantize(weight.rows.read(0, 37), bits, 32), bits).tobytes()}


def test_ordered_keeps_the_order() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.01 if item == 0 else 0)
        return item * item

    with ThreadPoolExecutor(3) as pool:
        assert list(ordered(pool, slow_first, range(20), 4)) == [i * i for i in range(20)]


def test_ordered_begins_no_more_than_its_window() -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def note(item: int) -> int:
        with lock:
            begun.append(item)
        return item

    with ThreadPoolExecutor(8) as pool:
        results = ordered(pool, note, range(100), 3)
        assert next(results) == 0
        assert len(begun) <= 4
        results.close()  # type: ignore[attr-defined]  # it is a generator


def test_ordered_passes_errors_on() -> None:
    def fail(item: int) -> int:
        raise CheckpointDamaged(str(item))

    items: Sequence[int] = range(5)
    with ThreadPoolExecutor(2) as pool, pytest.raises(CheckpointDamaged, match="0"):
        list(ordered(pool, fail, items, 2))
