from __future__ import annotations

from pathlib import Path

import pytest

from bench.plot import draw
from bench.quality import main

RESULTS = {
    "float": {"bits_per_weight": 32.0, "bits_per_weight_f16_scales": 32.0, "kl_mean": 0.0, "kl_mean_ci": [0.0, 0.0]},
    "build/a": {
        "bits_per_weight": 4.5,
        "bits_per_weight_f16_scales": 4.5,
        "kl_mean": 0.02,
        "kl_mean_ci": [0.018, 0.022],
    },
    "build/b": {
        "bits_per_weight": 5.0,
        "bits_per_weight_f16_scales": 5.0,
        "kl_mean": 0.01,
        "kl_mean_ci": [0.009, 0.011],
    },
}


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_a_picture_of_the_asked_kind(suffix: str, magic: bytes, tmp_path: Path) -> None:
    draw(RESULTS, tmp_path / f"quality{suffix}")
    assert (tmp_path / f"quality{suffix}").read_bytes().startswith(magic)


def test_another_suffix_is_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["a", "--against", "b", "--text", "c", "--plot", "d.txt"])
    assert "--plot d.txt: expected a file that ends in .png" in capsys.readouterr().err
