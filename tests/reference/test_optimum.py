"""`--builder optimum` on models that our own builder doesn't know, held against transformers; needs torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from bench.checkpoint import write_tokenizer
from model_export.__main__ import main
from model_export.reading import read_artefact
from model_export.running import run_graph
from model_export.verify import compare, verify_files
from tests.conftest import ROOT
from tests.reference import models
from tests.reference.serving import served

VOCAB, LENGTH = 512, 120
COMMON = {"vocab_size": VOCAB, "bos_token_id": 0, "eos_token_id": 1}
LLAMA_LIKE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
# Learnt positions and products of another form, none, ALiBi, rotary in part, several heads to a key, capped logits.
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 256, "n_embd": 64, "n_layer": 3, "n_head": 4},
    "opt": {**LLAMA_LIKE, "ffn_dim": 128, "word_embed_proj_dim": 64, "max_position_embeddings": 256, "pad_token_id": 1},
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4},
    "phi": {**LLAMA_LIKE, "max_position_embeddings": 256},
    "gemma2": {**LLAMA_LIKE, "head_dim": 16, "num_key_value_heads": 2, "max_position_embeddings": 256},
}


@pytest.fixture(scope="module")
def checkpoints_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A random checkpoint of each family, made when it is asked for."""
    root = tmp_path_factory.mktemp("families")

    def made(family: str) -> Path:
        if not (root / family).exists():
            torch.manual_seed(0)
            config = AutoConfig.for_model(family, **COMMON, **CONFIGS[family])
            model = AutoModelForCausalLM.from_config(config)
            with torch.no_grad():
                for tensor in model.parameters():
                    if tensor.dim() == 2:
                        tensor.normal_(0, tensor.shape[1] ** -0.5)
            model.save_pretrained(root / family)
            write_tokenizer(root / family, VOCAB, 0)
        return root / family

    return made


@pytest.fixture(scope="module")
def gpt2(checkpoints_of: Callable[[str], Path]) -> Path:
    return checkpoints_of("gpt2")


@pytest.fixture(scope="module")
def int4(gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(gpt2, tmp_path_factory.mktemp("int4") / "out")


@pytest.fixture
def damaged(gpt2: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(gpt2, tmp_path / "damaged"))


def export(checkpoint: Path, out: Path, *options: str) -> Path:
    assert main([str(checkpoint), "--out", str(out), "--builder", "optimum", "--context", "256", *options]) == 0
    return out


def refused(checkpoint: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What is said of a checkpoint that can't be exported."""
    assert main([str(checkpoint), "--out", str(out), "--builder", "optimum", *options]) == 2
    assert not list(out.parent.glob(f"*{out.name}*"))
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("family", CONFIGS)
def test_unquantized_logits_are_those_of_transformers(
    family: str, checkpoints_of: Callable[[str], Path], tmp_path: Path
) -> None:
    out = export(checkpoints_of(family), tmp_path / "out", "--quantization", "none")
    ids = np.random.default_rng(1).integers(2, VOCAB, LENGTH)
    found = run_graph(read_artefact(out), ids)
    expected = models.logits(models.load(checkpoints_of(family)), ids)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_int4_is_near(gpt2: Path, int4: Path) -> None:
    read = read_artefact(int4)
    verify_files(read)
    ids = np.random.default_rng(1).integers(2, VOCAB, LENGTH)
    expected = models.logits(models.load(gpt2), ids)
    found = compare(run_graph(read, ids), expected, expected)
    assert found.kl_mean < 0.1
    assert found.top1_agreement > 0.6
    assert len(read.description["quantization"]["wide"]) == 1  # the head


def test_the_server_writes_what_transformers_writes(gpt2: Path, tmp_path: Path) -> None:
    out = export(gpt2, tmp_path / "out", "--quantization", "none")
    prompt = [0, *np.random.default_rng(2).integers(5, VOCAB, 20).tolist()]
    model = models.load(gpt2)
    whole = model.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False, eos_token_id=None)[0].tolist()
    expected = Tokenizer.from_file(str(gpt2 / "tokenizer.json")).decode(whole[len(prompt) :])
    with served(out) as ask:
        assert [ask(prompt, 40), ask(prompt, 40)] == [expected, expected]  # the second one out of the cache


def test_the_same_checkpoint_gives_the_same_bytes_and_the_export_says_what_is_worse(
    gpt2: Path, int4: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = export(gpt2, tmp_path / "out")
    assert (out / "manifest.json").read_bytes() == (int4 / "manifest.json").read_bytes()
    assert "slower and larger" in capsys.readouterr().err


def test_a_prefix_is_computed(gpt2: Path, tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("A beginning that all prompts have, and which is long enough to be worth it.")
    out = export(gpt2, tmp_path / "out", "--prefix", str(tmp_path / "system.txt"))
    assert (out / "prefix-1.kv").exists()


@pytest.mark.parametrize("module", ["convert", "verify"])
def test_what_needs_our_own_graph_is_refused(module: str, gpt2: Path, int4: Path) -> None:
    options = ["--against", str(gpt2)] if module == "verify" else ["--kernels", "stock"]
    command = [str(ROOT / ".venv/bin/python"), "-m", f"model_export.{module}", str(int4), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, "was built by optimum" in done.stderr) == (2, True)


def test_an_unknown_architecture_is_refused_by_name(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(damaged, model_type="mamba")
    assert "model_type 'mamba' isn't one that optimum-onnx exports" in refused(damaged, tmp_path / "out", capsys)


def test_a_missing_tensor_is_named(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(damaged, lambda tensors: tensors.pop("transformer.h.1.mlp.c_fc.weight"))
    assert "lacks transformer.h.1.mlp.c_fc.weight" in refused(damaged, tmp_path / "out", capsys)


def test_a_tensor_of_another_shape_is_named(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(damaged, lambda tensors: tensors.update({"transformer.ln_f.bias": torch.zeros(3)}))
    assert "transformer.ln_f.bias" in refused(damaged, tmp_path / "out", capsys)


def test_a_tensor_with_nan_is_named(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(damaged, lambda tensors: tensors.update({"transformer.ln_f.bias": torch.full([64], float("nan"))}))
    assert "transformer.ln_f.bias" in refused(damaged, tmp_path / "out", capsys)


@pytest.mark.parametrize("keep", [0, 7, 1000])
def test_a_truncated_weights_file_is_damage(
    keep: int, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.truncate(damaged / "model.safetensors", keep)
    assert "can't load" in refused(damaged, tmp_path / "out", capsys)


def test_pickled_weights_are_never_loaded(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(load_file(damaged / "model.safetensors"), damaged / "pytorch_model.bin")
    (damaged / "model.safetensors").unlink()
    assert "can't load" in refused(damaged, tmp_path / "out", capsys)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--context", "300"], "--context 300 is beyond the model's 256 positions"),
        (["--rounding", "calibrated"], "--rounding calibrated doesn't go with --builder optimum"),
        (["--kernels", "native"], "--kernels native doesn't go with --builder optimum"),
        (["--bits-per-weight", "5"], "--bits-per-weight 5.0 doesn't go with --builder optimum"),
        (["--quantization", "keep"], "--quantization keep doesn't go with --builder optimum"),
    ],
)
def test_options_that_can_t_be_are_refused(
    options: list[str], told: str, gpt2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refused(gpt2, tmp_path / "out", capsys, *options)


def edit(checkpoint: Path, **changes: Any) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite(checkpoint: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})
