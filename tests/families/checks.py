"""What holds for each family: its logits are those of transformers, and every way to them is the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.checkpoint import write_checkpoint
from model_export.checkpoint import Checkpoint
from model_export.config import load_config
from model_export.decoder import decoder
from model_export.export import export
from model_export.options import ExportOptions
from model_export.parallel import workers
from model_export.sensitivity import Sensitivity
from model_export.source import resolve
from model_export.verify import log_softmax
from model_export.verify import main as verify
from model_export.weights import plan
from tests.conftest import ROOT
from tests.kernels.models import needs_library
from tests.model_export.gguf.helpers import write_gguf
from tests.model_export.helpers import (
    Graph,
    artefact_logits,
    checkpoint_logits,
    difference,
    export_to,
    some_ids,
)

GOLDEN = ROOT / "tests" / "golden" / "families.npz"
BASE: Mapping[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "torch_dtype": "float32",
    "pad_token_id": 0,  # where it is left out, it may be beyond this vocabulary
}
IDS = some_ids(40, 300, seed=5)  # what the golden logits are of
WANTED = [0, 1, 12, 39]  # and at which of them
WORSE = {"f16": 1.5, "int8": 2.5}  # than int8 activations with a cache in float32: what the caches may cost


class Exports:
    """A checkpoint and its artefacts, made when they are asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.checkpoint = directory / "checkpoint"

    def artefact(self, **options: Any) -> Path:
        """One that was exported with these options."""
        path = self.directory / "-".join(map(str, options.values()))
        return path if path.exists() else export_to(self.checkpoint, path, **options)

    def native(self, cache: str) -> Path:
        """One for native kernels."""
        return self.artefact(kernels="native", kv_cache=cache)


def whole(artefact: Path, ids: NDArray[np.int64] = IDS) -> NDArray[np.float32]:
    """The graph's logits `(S, vocab_size)`, all positions at once."""
    return Graph(artefact, positions=len(ids)).run(ids[None, :], [len(ids)])


def one_by_one(artefact: Path, ids: NDArray[np.int64] = IDS) -> NDArray[np.float32]:
    """The same, the last fifteen in steps of their own."""
    graph, first = Graph(artefact, positions=len(ids)), len(ids) - 15
    pieces = [graph.run(ids[None, :first], [first])]
    pieces += [graph.run(ids[None, i : i + 1], [i + 1]) for i in range(first, len(ids))]
    return np.concatenate(pieces)


class Checks:
    """To be inherited.

    Attributes:
        CONFIGS: config.json's contents by name, small, between them with every feature of the family.
        GGUF: one that llama.cpp has words for.
    """

    CONFIGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    GGUF: ClassVar[Mapping[str, Any]] = {}

    def test_logits_are_those_of_transformers(self, name: str, exports: Exports) -> None:
        with np.load(GOLDEN) as recorded:
            expected = recorded[name]
        assert difference(checkpoint_logits(exports.checkpoint, IDS)[WANTED], expected) < 1e-5
        assert difference(whole(exports.artefact(quantization="none"))[WANTED], expected) < 1e-5

    def test_token_by_token_is_the_whole(self, name: str, exports: Exports) -> None:
        artefact = exports.artefact(quantization="none")
        assert difference(one_by_one(artefact), whole(artefact)) < 1e-5

    def test_int4_is_the_same_with_dequantized_weights(self, name: str, exports: Exports) -> None:
        artefact = exports.artefact(activations="float32")
        assert difference(whole(artefact), artefact_logits(exports.checkpoint, artefact, IDS)) < 1e-4

    @needs_library
    @pytest.mark.parametrize("cache", WORSE)
    def test_native_kernels_are_no_worse_than_stock_ones(self, name: str, cache: str, exports: Exports) -> None:
        stock, native = exports.artefact(kernels="stock"), exports.native(cache)
        exact = log_softmax(artefact_logits(exports.checkpoint, stock, IDS))

        def divergence(found: NDArray[np.float32]) -> float:
            return float((np.exp(exact) * (exact - log_softmax(found))).sum(axis=1).mean())

        limit = WORSE[cache] * divergence(whole(stock))
        assert divergence(whole(native)) < limit
        assert divergence(one_by_one(native)) < limit

    @needs_library
    def test_verify_finds_nothing_wrong(self, name: str, exports: Exports) -> None:
        assert verify([str(exports.native("int8")), "--against", str(exports.checkpoint)]) == 0

    def test_a_calibrated_mixed_export_is_nearer_than_a_plain_one(self, name: str, exports: Exports) -> None:
        expected = checkpoint_logits(exports.checkpoint, IDS)
        mixed = exports.artefact(activations="float32", rounding="calibrated", bits_per_weight=6.5)
        plain = exports.artefact(activations="float32", rounding="nearest")
        errors = [np.square(whole(artefact) - expected).mean() for artefact in (mixed, plain)]
        assert errors[0] < errors[1]

    def test_gradients_are_those_of_differences(self, name: str, exports: Exports) -> None:
        config, ids = load_config(exports.checkpoint), IDS[None, :24]
        weights = plan(config, ExportOptions("none"), Checkpoint.open(exports.checkpoint, config))
        rng = np.random.default_rng(0)
        with workers(1) as threads:
            measure = Sensitivity(config, [*weights], ids, threads)
            measure.costs()
            for layer in decoder(config).layers:
                hidden, step, gradient = (rng.standard_normal((24, 64)).astype(np.float32) for _ in range(3))
                step *= np.float32(1e-2)
                found = float((measure._back(layer, hidden, gradient, {}) * step).sum()) * 2
                after, before = (measure._forth(layer, hidden + s)[-1].astype(np.float64) for s in (step, -step))
                assert found == pytest.approx(float(((after - before) * gradient).sum()), rel=2e-2)

    def test_a_gguf_file_gives_the_artefact_that_the_checkpoint_gives(self, tmp_path: Path) -> None:
        write_checkpoint(self.GGUF, tmp_path / "checkpoint")
        path = write_gguf(tmp_path / "checkpoint", tmp_path / "x.gguf")
        export_to(tmp_path / "checkpoint", tmp_path / "theirs", quantization="none")
        export(resolve(str(path), None), tmp_path / "ours", ExportOptions("none"))
        for file in ("model.onnx", "model.safetensors"):
            assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes()
