from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bench.peers import ratios, table, token_bytes

FIGURES = {
    "native": {"prefill_128": 50.0, "prefill_512": 40.0, "decode_0": 12.0, "decode_4096": 9.0, "read_gb_per_s": 10.0},
    "llama.cpp fa on": {"prefill_128": 20.0, "prefill_512": 25.0, "decode_0": 8.0, "decode_4096": 3.0},
    "llama.cpp fa off": {"prefill_128": 25.0, "prefill_512": 20.0, "decode_0": 6.0, "decode_4096": 4.5},
}


def test_ratios_are_over_the_better_of_flash_attention_on_and_off() -> None:
    found = ratios(FIGURES, 1000)
    assert [found[f"{name}_ratio"] for name in ("prefill_128", "prefill_512", "decode", "decode_4096")] == [
        2,
        1.6,
        1.5,
        2,
    ]


def test_each_peer_has_ratios_of_its_own() -> None:
    figures = {
        **FIGURES,
        "ik_llama.cpp Q4_0 fa on": {"decode_0": 10.0},
        "ik_llama.cpp IQ4_KS fa off": {"decode_0": 6.0},
    }
    found = ratios(figures, 1000)
    assert (found["decode_ratio"], found["ik_decode_ratio"]) == (1.5, 1.2)
    assert "ik_prefill_128_ratio" not in found


def test_a_token_reads_all_but_the_low_plane(tmp_path: Path) -> None:
    arrays = {name: np.zeros(size, dtype=np.uint8) for name, size in (("w", 640), ("w_low", 512), ("w_spread", 64))}
    save_file(arrays, tmp_path / "model.safetensors")
    assert token_bytes(tmp_path) == 704


def test_bandwidth_is_that_of_the_weights_read_for_each_token() -> None:
    assert ratios(FIGURES, 10_000_000)["bandwidth_fraction"] == 0.012  # 12 tokens/s of 10 MB, out of 10 GB/s


def test_without_the_deep_measurement_there_is_no_deep_ratio() -> None:
    figures = {name: {key: v for key, v in row.items() if key != "decode_4096"} for name, row in FIGURES.items()}
    assert "decode_4096_ratio" not in ratios(figures, 0)
    assert "4096" not in table(figures)


def test_the_table_has_a_line_for_each_engine() -> None:
    lines = table(FIGURES).splitlines()
    assert lines[0] == "| tokens/s | prefill_128 | prefill_512 | decode_0 | decode_4096 |"
    assert lines[2] == "| native | 50.00 | 40.00 | 12.00 | 9.00 |"
    assert len(lines) == 5
