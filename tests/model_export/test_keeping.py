from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.checkpoint import write_checkpoint
from model_export.__main__ import main
from model_export.convert import convert
from model_export.decoder import EMBEDDING
from model_export.errors import OptionInvalid, WeightsNotKept
from model_export.export import export
from model_export.options import ExportOptions
from model_export.reading import read_artefact
from model_export.source import Source, resolve
from model_export.stored import StoredWeights
from model_export.weights import plan
from tests.configs import CONFIGS
from tests.model_export.gguf.helpers import Kinds, write_gguf
from tests.model_export.helpers import tree

KEPT = ExportOptions(rounding="kept")


def source(directory: Path, kind: Kinds, config: str = "llama-gqa2-bf16") -> Source:
    write_checkpoint(CONFIGS[config], directory / "checkpoint")
    return resolve(str(write_gguf(directory / "checkpoint", directory / "x.gguf", kind)), None)


def exported(model: Source, out: Path, **options: Any) -> StoredWeights:
    export(model, out, ExportOptions(rounding="kept", **options))
    return StoredWeights(read_artefact(out))


@pytest.mark.parametrize("kernels", ["stock", "native"])
@pytest.mark.parametrize(("kind", "bits"), [("Q4_0", 4), ("Q5_0", 8), ("Q8_0", 8)])
def test_every_value_is_the_file_s(kind: str, bits: int, kernels: Any, tmp_path: Path) -> None:
    model = source(tmp_path, kind)
    stored = exported(model, tmp_path / "out", kernels=kernels)
    config, _ = model.decoder()
    for weight in plan(config, KEPT, model.checkpoint(config)):
        assert stored.planned[weight.name].bits == (None if weight.bits is None else bits)
        np.testing.assert_array_equal(stored.weight(weight.name), weight.rows.read(0, weight.rows.shape[0]))


def test_iq4_nl_is_kept_in_eight_bits(tmp_path: Path) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (6, 3, 18), dtype=np.uint8)
    blocks[:, :, 1] &= 0x3F  # no scale of 2 or more, and none that is no number
    from model_export.gguf.kept import codes
    from model_export.gguf.shards import dequantize

    values, scales = codes(blocks.reshape(6, -1), "IQ4_NL", 8)
    found = (values.astype(np.float32) - 128) * scales.astype(np.float32)[:, :, None]
    np.testing.assert_array_equal(found.reshape(6, -1), dequantize(blocks.reshape(6, -1), "IQ4_NL"))


def test_a_fused_layer_takes_the_widest_of_its_parts(tmp_path: Path) -> None:
    kinds = {"attn_v.weight": "Q8_0", ".weight": "Q4_0"}
    stored = exported(source(tmp_path, kinds), tmp_path / "out")
    bits = {name.partition("layers.0.")[2]: w.bits for name, w in stored.planned.items() if w.bits}
    assert (bits["self_attn.qkv_proj.weight"], bits["mlp.down_proj.weight"]) == (8, 4)


def test_an_embedding_of_another_type_is_rounded_to_eight_bits(tmp_path: Path) -> None:
    model = source(tmp_path, {"token_embd.weight": "F16", ".weight": "Q4_0"}, "llama-mha-tied")
    stored = exported(model, tmp_path / "out")
    assert stored.planned[EMBEDDING].bits == 8
    description = json.loads((tmp_path / "out" / "firebrick.json").read_text())["quantization"]
    assert (description["rounding"], description["wide"]) == ("kept", [EMBEDDING])


def test_other_kernels_keep_them_too(tmp_path: Path) -> None:
    exported(source(tmp_path, "Q4_0"), tmp_path / "native", kernels="native")
    convert(tmp_path / "native", tmp_path / "stock", "stock")
    convert(tmp_path / "stock", tmp_path / "again", "native")
    assert tree(tmp_path / "again") == tree(tmp_path / "native")


@pytest.mark.parametrize("kind", ["Q4_1", "F16", {"ffn_up.weight": "Q5_1", ".weight": "Q4_0"}])
def test_what_cannot_be_kept_is_named(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotKept, match=r"model\.layers\.0\..*proj\.weight can't be kept, since it is .*1|F16"):
        exported(source(tmp_path, kind), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_padded_heads_cannot(tmp_path: Path) -> None:
    config = {**CONFIGS["llama-gqa2-bf16"], "head_dim": 24}
    write_checkpoint(config, tmp_path / "checkpoint")
    path = write_gguf(tmp_path / "checkpoint", tmp_path / "x.gguf", "Q8_0")
    with pytest.raises(WeightsNotKept, match="qkv_proj"):
        export(resolve(str(path), None), tmp_path / "out", KEPT)


def test_a_checkpoint_of_floats_cannot(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotKept, match="it is F32"):
        export(Source(checkpoint, "x", None), tmp_path / "out", KEPT)


@pytest.mark.parametrize("options", [{"block_size": 64}, {"bits_per_weight": 5.0}, {"quantization": "none"}])
def test_options_that_would_round_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionInvalid):
        ExportOptions(rounding="kept", **options)


def test_the_command_says_keep(tmp_path: Path) -> None:
    source(tmp_path, "Q4_0")
    said = io.StringIO()
    command = [str(tmp_path / "x.gguf"), "--out", str(tmp_path / "out"), "--threads", "1", "--quantization", "keep"]
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        assert main([*command, "--rounding", "search"]) == 2
        assert main(command) == 0
    assert "leave out --rounding search" in said.getvalue()
