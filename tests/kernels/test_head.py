from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handler.engine.sampling import Sampler, SamplingParams
from model_export import native
from model_export.quantize import dequantize
from tests.conftest import ROOT
from tests.kernels.head_cases import CHOICES, EXACT, GREEDY, Quantized, head_session, logits, some_head, some_states
from tests.kernels.models import available, constant, linear_model, needs_library, session
from tests.kernels.plain import Floats

pytestmark = needs_library
N, K = 4000, 256


def whole(weight: Quantized, x: Floats) -> Floats:
    """What a linear layer of whole bytes computes, for a few rows at a time: AMX would take its tiles for many."""
    n = len(weight.scales)
    records = constant("w", native.pack(weight.values, weight.scales, 8))
    linear = session(linear_model(records, {"n": n, "k": weight.k, "bits": 8, "gated": 0}))
    return np.concatenate([linear.run(None, {"x": x[at : at + 16]})[0] for at in range(0, len(x), 16)])


def spreads(weight: Quantized, x: Floats) -> Floats:
    """The standard deviations of coarse logits, at most: `(rows, n)`."""
    found: Floats = np.linalg.norm(x, axis=1)[:, None] * native.split(weight.values, weight.scales)[2]
    return found


@pytest.mark.parametrize("rows", [1, 3, 13, 70])
def test_exact_logits_are_those_of_whole_bytes(rows: int) -> None:
    weight, x = some_head(N, K, 16), some_states(rows, K)
    found = logits(head_session(weight, 2), x, [EXACT])
    np.testing.assert_array_equal(found, whole(weight, x))


def test_exact_logits_of_lean_scales_are_the_product() -> None:
    weight, x = some_head(N, K, 8), some_states(3, K)
    expected = x @ dequantize(weight.values, weight.scales, 8, K).T
    assert np.abs(logits(head_session(weight), x, [EXACT]) - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("scale_bits", [8, 16])
def test_coarse_logits_are_off_by_their_spread(scale_bits: int) -> None:
    weight, x = some_head(N, K, scale_bits), some_states(20, K)
    head = head_session(weight)
    error = (logits(head, x, [GREEDY]) - logits(head, x, [EXACT])) / spreads(weight, x)
    assert (error != 0).mean() > 0.9  # else all would have been computed exactly
    assert 0.5 < float(error.std()) < 1.05
    assert np.abs(error).max() < 6


@pytest.mark.parametrize("scale_bits", [8, 16])
def test_the_likeliest_token_is_that_of_exact_logits(scale_bits: int) -> None:
    """Also where the likeliest differ by less than the coarse logits' error, which they do in a third of these rows."""
    weight, x = some_head(N, K, scale_bits), some_states(3000, K, seed=1)
    head = head_session(weight, 2)
    exact, found = (
        np.concatenate([logits(head, x[i : i + 8], [c]) for i in range(0, 3000, 8)]) for c in (EXACT, GREEDY)
    )
    best = exact.argmax(axis=1)
    np.testing.assert_array_equal(found.argmax(axis=1), best)
    np.testing.assert_array_equal(found.max(axis=1), exact.max(axis=1))
    second = np.partition(exact, -2, axis=1)[:, -2]
    close = exact.max(axis=1) - second < spreads(weight, x)[np.arange(3000), best]
    assert close.mean() > 0.1


def kept(exact: Floats, choice: Sequence[float]) -> NDArray[np.bool_]:
    """Which tokens of `(n,)` logits a choice is made among, in float64."""
    temperature, top_k, top_p, min_p = choice
    wide = exact.astype(np.float64) / max(temperature, 1e-6)
    probabilities = np.exp(wide - wide.max())
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities, kind="stable")
    before = np.cumsum(probabilities[order]) - probabilities[order]
    keep = before < (top_p if top_p < 1 or top_k or min_p else 0.99)
    keep &= np.arange(len(exact)) < (top_k or len(exact))
    keep &= probabilities[order] >= min_p * probabilities.max()
    found = np.zeros(len(exact), dtype=np.bool_)
    found[order[keep if temperature else slice(0, 1)]] = True
    return found


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("scale_bits", [8, 16])
def test_every_token_that_may_be_chosen_has_its_exact_logit(choice: Sequence[float], scale_bits: int) -> None:
    weight, x = some_head(N, K, scale_bits), some_states(200, K, seed=2)
    head = head_session(weight, 2)
    exact, found = logits(head, x, [EXACT]), logits(head, x, [choice])
    for row in range(len(x)):
        among = kept(exact[row], choice)
        np.testing.assert_array_equal(found[row][among], exact[row][among])


def test_a_sampler_draws_as_it_does_from_exact_logits() -> None:
    weight, x = some_head(N, K, 8), some_states(300, K, seed=3)
    head = head_session(weight, 2)
    params = SamplingParams(temperature=0.8, top_k=40, top_p=0.95, seed=5)
    samplers = [Sampler(params, [], N) for _ in range(2)]
    exact, found = logits(head, x, [EXACT]), logits(head, x, [samplers[0].choice])
    drawn = [[sampler.sample(row) for row in rows] for sampler, rows in zip(samplers, (exact, found), strict=True)]
    assert sum(a != b for a, b in zip(*drawn, strict=True)) <= 1  # the nucleus' total holds coarse ones of the tail


def test_neither_threads_nor_the_other_rows_change_a_row() -> None:
    weight, x = some_head(N, K, 8), some_states(14, K)
    choices = [(EXACT, *CHOICES)[i % 6] for i in range(14)]
    together = logits(head_session(weight, 3), x, choices)
    head = head_session(weight, 1)
    alone = [logits(head, x[i : i + 1], [choice]) for i, choice in enumerate(choices)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_one_choice_is_for_all_rows() -> None:
    weight, x = some_head(300, 64, 16), some_states(4, 64)
    head = head_session(weight)
    np.testing.assert_array_equal(logits(head, x, [GREEDY]), logits(head, x, [GREEDY] * 4))


def test_no_rows_give_no_rows() -> None:
    head = head_session(some_head(300, 64, 16))
    assert logits(head, np.zeros((0, 64), dtype=np.float32), [GREEDY]).shape == (0, 300)


def test_states_that_are_no_numbers_give_none() -> None:
    x = some_states(2, 64)
    x[0, 7] = np.nan
    found = logits(head_session(some_head(300, 64, 16)), x, [GREEDY])
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("choice", [(1, -1, 1, 0), (1, 0, 1.5, 0), (1, 0, 1, -0.1), (np.nan, 0, 1, 0), (1, 0, 1)])
def test_choices_that_cannot_be_are_refused(choice: Sequence[float]) -> None:
    with pytest.raises(Exception, match="choice"):
        logits(head_session(some_head(300, 64, 16)), some_states(1, 64), [choice])


def computed(isa: str, directory: Path) -> list[Floats]:
    file = directory / f"{isa}.npz"
    command = [sys.executable, "-m", "tests.kernels.head_cases", str(file)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "FIREBRICK_ISA": isa}, check=True)
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


@pytest.mark.parametrize("isa", [isa for isa in available() if isa != "portable"])
def test_instruction_sets_agree_bit_for_bit(isa: str, tmp_path: Path) -> None:
    for found, expected in zip(computed(isa, tmp_path), computed("portable", tmp_path), strict=True):
        np.testing.assert_array_equal(found, expected)
