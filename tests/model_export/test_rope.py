from __future__ import annotations

from math import cos, pi, sin

import numpy as np
import pytest

from model_export.config import ModelConfig, parse_config
from model_export.decoder import decoder
from model_export.rope import Rope, inverse_frequencies, tables
from model_export.scalings import LongRope
from tests.configs import CONFIGS

LLAMA3 = parse_config(CONFIGS["llama-gqa8-llama3-rope"])
LINEAR = parse_config(CONFIGS["llama-biases-linear-rope"])
PLAIN = parse_config(CONFIGS["qwen3"])


def rope(config: ModelConfig) -> Rope:
    return decoder(config).ropes[0][1]


def slowly(config: ModelConfig) -> list[float]:
    """Llama 3.1's rule as its authors wrote it, a frequency at a time."""
    frequencies = []
    for i in range(0, config.head_dim, 2):
        frequency = 1.0 / config.rope_theta ** (i / config.head_dim)
        scaling = config.rope_scaling
        assert not isinstance(scaling, LongRope)
        if scaling is not None and scaling.kind == "linear":
            frequency /= scaling.factor
        elif scaling is not None:
            old = scaling.original_max_position_embeddings
            wavelength = 2 * pi / frequency
            if wavelength > old / scaling.low_freq_factor:
                frequency /= scaling.factor
            elif wavelength > old / scaling.high_freq_factor:
                span = scaling.high_freq_factor - scaling.low_freq_factor
                smooth = (old / wavelength - scaling.low_freq_factor) / span
                frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency
        frequencies.append(frequency)
    return frequencies


@pytest.mark.parametrize("config", [LLAMA3, LINEAR, PLAIN], ids=["llama3", "linear", "none"])
def test_frequencies_are_those_of_the_loop(config: ModelConfig) -> None:
    np.testing.assert_allclose(inverse_frequencies(rope(config), 8192), slowly(config), rtol=1e-6)


def test_llama3_keeps_stretches_and_blends() -> None:
    plain = [1.0 / LLAMA3.rope_theta ** (i / LLAMA3.head_dim) for i in range(0, LLAMA3.head_dim, 2)]
    ratios = inverse_frequencies(rope(LLAMA3), 16001) / np.array(plain)
    assert ratios[0] == pytest.approx(1)
    assert ratios[-1] == pytest.approx(1 / 8)
    assert np.any((ratios > 0.13) & (ratios < 0.99))


@pytest.mark.parametrize("position", [0, 1, 100, 8191, 8192, 16000])
def test_the_tables_turn_each_position_by_its_angle(position: int) -> None:
    cosines, sines = tables(rope(LLAMA3), 16001, LLAMA3.head_dim // 2)
    for i, frequency in enumerate(inverse_frequencies(rope(LLAMA3), 16001)):
        angle = float(np.float32(position) * frequency)
        assert cosines[position, i] == pytest.approx(cos(angle), abs=1e-6)
        assert sines[position, i] == pytest.approx(sin(angle), abs=1e-6)


def test_padding_is_not_turned() -> None:
    cosines, sines = tables(rope(LINEAR), 10, 16)  # heads of 24 have 12 pairs
    assert (cosines[:, 12:] == 1).all()
    assert (sines[:, 12:] == 0).all()
