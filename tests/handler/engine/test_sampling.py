from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from handler.engine.sampling import ALL_EXACT, Sampler, SamplingParams, _truncate, log_probabilities

LOGITS = arrays(np.float32, st.integers(1, 400), elements=st.floats(-30, 30, width=32))


def sample(logits: list[float] | NDArray[np.float32], prompt: list[int] | None = None, **params: Any) -> int:
    array = np.array(logits, dtype=np.float32)
    return Sampler(SamplingParams(**params), prompt or [], len(array)).sample(array)


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponents = np.exp((logits - logits.max()).astype(np.float64))
    result: NDArray[np.float32] = (exponents / exponents.sum()).astype(np.float32)
    return result


def plainly_truncated(p: NDArray[np.float32], top_k: int, top_p: float, min_p: float) -> set[int]:
    """The definition, token by token, over the whole sorted vocabulary."""
    order = sorted(range(len(p)), key=lambda i: (-p[i], i))
    order = order[:top_k] if top_k else order
    total, before = sum(float(p[i]) for i in order) if top_k else 1.0, 0.0
    nucleus: list[int] = []
    for i in order:
        if nucleus and before >= top_p * total:
            break
        nucleus.append(i)
        before += float(p[i])
    return {i for i in (nucleus if top_p < 1 else order) if p[i] >= min_p * p.max()}


@given(LOGITS, st.integers(0, 500), st.sampled_from([0.1, 0.5, 0.9, 0.99, 1.0]), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_truncation_is_that_of_the_plain_definition(
    logits: NDArray[np.float32], top_k: int, top_p: float, min_p: float
) -> None:
    p = probabilities(logits)
    ids, kept = _truncate(p, top_k, top_p, min_p)
    expected = plainly_truncated(p, top_k, top_p, min_p)
    found = set(range(len(p))) if ids is None else set(ids.tolist())
    # Sums in another order may differ in the last bit, and with them the one token at the edge of the nucleus.
    assert len(found ^ expected) <= (1 if top_p < 1 else 0)
    np.testing.assert_array_equal(kept, p if ids is None else p[ids])


def test_temperature_0_takes_the_likeliest_and_the_first_among_equals() -> None:
    assert sample([1, 5, 5, 2], temperature=0) == 1


def test_top_k_1_takes_the_likeliest_at_any_temperature() -> None:
    assert {sample([1, 5, 4.9, 2], temperature=2, top_k=1, seed=s) for s in range(20)} == {1}


@pytest.mark.parametrize("temperature", [1e-30, 1e-6])
def test_a_tiny_temperature_does_not_overflow(temperature: float) -> None:
    assert sample([1e4, -1e4, 9e3], temperature=temperature, seed=0) == 0


def test_draws_are_as_likely_as_the_model_says() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    sampler = Sampler(SamplingParams(seed=1), [], 4)
    counts = Counter(sampler.sample(logits) for _ in range(4000))
    found = np.array([counts[i] for i in range(4)]) / 4000
    np.testing.assert_allclose(found, [0.5, 0.3, 0.15, 0.05], atol=0.03)


def test_the_same_seed_draws_the_same() -> None:
    logits = np.zeros(1000, dtype=np.float32)
    first, second, other = (Sampler(SamplingParams(seed=s), [], 1000) for s in (5, 5, 6))
    draws = [[sampler.sample(logits) for _ in range(20)] for sampler in (first, second, other)]
    assert draws[0] == draws[1] != draws[2]


def test_without_a_seed_two_answers_differ() -> None:
    logits = np.zeros(100_000, dtype=np.float32)
    assert Sampler(SamplingParams(), [], 100_000).sample(logits) != Sampler(SamplingParams(), [], 100_000).sample(
        logits
    )


def test_a_bias_makes_or_forbids_a_token() -> None:
    assert sample([1, 2, 3], temperature=0, logit_bias={0: 100.0}) == 0
    assert sample([1, 2, 3], temperature=0, logit_bias={2: -100.0}) == 1


def test_repetition_is_penalized_in_prompt_and_answer_whatever_the_sign() -> None:
    sampler = Sampler(SamplingParams(temperature=0, repetition_penalty=2.0), [0], 3)
    assert sampler.sample(np.array([4, 3, -1], dtype=np.float32)) == 1  # 2, 3, -1
    assert sampler.sample(np.array([-1, -1, -1.5], dtype=np.float32)) == 2  # -2, -2, -1.5


def test_presence_and_frequency_count_the_answer_alone() -> None:
    sampler = Sampler(SamplingParams(temperature=0, presence_penalty=1.0, frequency_penalty=0.5), [1, 1, 1], 2)
    logits = np.array([0, 1.9], dtype=np.float32)
    # Token 1 costs 0, then 1.5, then 2.0.
    assert [sampler.sample(logits) for _ in range(3)] == [1, 1, 0]


def test_logits_are_left_as_they_are() -> None:
    logits = np.array([1, 2, 3], dtype=np.float32)
    sample(logits, [0, 1, 2], temperature=0.7, repetition_penalty=1.3, logit_bias={1: 5.0}, top_p=0.5, seed=1)
    assert logits.tolist() == [1, 2, 3]


@given(LOGITS, st.integers(0, 20))
def test_log_probabilities_are_the_models_own(logits: NDArray[np.float32], count: int) -> None:
    chosen, top = log_probabilities(logits, 0, count)
    expected = np.log(
        np.exp(logits.astype(np.float64) - logits.max()) / np.exp(logits.astype(np.float64) - logits.max()).sum()
    )
    assert chosen == pytest.approx(expected[0], abs=1e-6)
    assert len(top) == min(count, len(logits))
    assert [value for _, value in top] == sorted((value for _, value in top), reverse=True)
    assert [value for _, value in top] == pytest.approx(sorted(expected, reverse=True)[: len(top)], abs=1e-6)


def test_an_avoided_token_is_chosen_only_if_there_is_no_other() -> None:
    logits = np.array([1, 5, 3, 4], dtype=np.float32)
    sampler = Sampler(SamplingParams(temperature=0), [], 4)
    assert sampler.sample(logits, avoided=[1]) == 3
    assert sampler.sample(logits, np.array([0b0110], dtype=np.uint8), avoided=[1]) == 2
    assert sampler.sample(logits, np.array([0b0010], dtype=np.uint8), avoided=[1]) == 1
    assert logits[1] == 5


@pytest.mark.parametrize(
    "params",
    [
        {"presence_penalty": 0.5},
        {"frequency_penalty": -0.5},
        {"repetition_penalty": 1.1},
        {"logit_bias": {3: 1.0}},
        {"top_logprobs": 0},
    ],
)
def test_what_looks_at_other_logits_wants_all_of_them_exact(params: dict[str, Any]) -> None:
    assert Sampler(SamplingParams(**params), [0], 4).choice == ALL_EXACT


def test_a_choice_among_the_likeliest_says_among_which() -> None:
    params = SamplingParams(temperature=0.7, top_k=40, top_p=0.9, min_p=0.1)
    assert Sampler(params, [0], 4).choice == (0.7, 40.0, 0.9, 0.1)
