from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from bench.checkpoint import SHAPES
from bench.llama_cpp.gguf import read_tensors
from bench.llama_cpp.random_gguf import write_random_gguf
from model_export.gguf.header import read_header

CONFIG = {**SHAPES["tiny"], "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 16}


def test_a_random_file_has_the_tensors_of_its_shape(tmp_path: Path) -> None:
    write_random_gguf(CONFIG, "Q4_0", tmp_path / "q.gguf")
    tensors = {tensor.name: tensor for tensor in read_tensors(tmp_path / "q.gguf")}
    assert len(tensors) == 2 + 2 * 9
    embedding, down = tensors["token_embd.weight"], tensors["blk.1.ffn_down.weight"]
    assert (embedding.type.name, prod(embedding.shape)) == ("Q6_K", 512 * 256)
    assert (down.type.name, prod(down.shape)) == ("Q4_0", 256 * 512)
    header = read_header(tmp_path / "q.gguf")
    assert header.metadata["llama.embedding_length"] == 256


def test_a_random_file_is_as_long_as_its_tensors(tmp_path: Path) -> None:
    for kind, bits in {"Q4_0": 4.5, "IQ4_KS": 4.25}.items():
        write_random_gguf(CONFIG, kind, tmp_path / "q.gguf")
        linears = 2 * (256 * (256 + 32 + 32) + 256 * 256 + 3 * 256 * 512)
        rows = 2 * (256 + 32 + 32 + 256 + 512 + 512 + 256) * (4 if kind == "IQ4_KS" else 0)
        data = linears * bits / 8 + rows + 512 * 256 * 210 / 256 + 5 * 256 * 4
        assert 0 <= (tmp_path / "q.gguf").stat().st_size - data < 3000


def test_scales_of_a_random_file_are_those_of_small_weights(tmp_path: Path) -> None:
    write_random_gguf(CONFIG, "Q4_0", tmp_path / "q.gguf")
    content = (tmp_path / "q.gguf").read_bytes()
    last = np.frombuffer(content[-32 * 18 :][:18], dtype="<f2")[0]  # of 16,384 blocks, which end aligned
    assert abs(float(last) - 2 * 512**-0.5 / 8) < 1e-3
