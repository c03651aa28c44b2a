from __future__ import annotations

import pytest

from handler.worker.pace import Pace


def timings(
    prefill_ms: float | None = 100, decode_ms: float | None = 1000, tokens: int = 11, cached: int = 0
) -> dict[str, float | None]:
    prompt = {"prompt_tokens": 10, "cached_tokens": cached, "prefill_ms": prefill_ms}
    return prompt | {"completion_tokens": tokens, "decode_ms": decode_ms}


def test_nothing_measured_is_nothing_expected() -> None:
    assert Pace().expected_s(1000, 1000) == 0


def test_one_answer_says_it_all() -> None:
    pace = Pace()
    pace.observe(timings())
    assert pace.expected_s(100, 20) == pytest.approx(1 + 2)


def test_what_the_cache_had_took_no_time() -> None:
    pace = Pace()
    pace.observe(timings(cached=5))
    assert pace.expected_s(100, 0) == pytest.approx(2)


def test_newer_answers_weigh_more() -> None:
    pace = Pace()
    for decode_ms in (1000, 2000):
        pace.observe(timings(decode_ms=decode_ms))
    assert pace.expected_s(0, 1) == pytest.approx(0.13)


@pytest.mark.parametrize("empty", [timings(None, None, 0), timings(100, 0, 1)])
def test_an_answer_without_steps_says_nothing_of_decoding(empty: dict[str, float | None]) -> None:
    pace = Pace()
    pace.observe(empty)
    assert pace.expected_s(0, 100) == 0


def test_each_number_of_answers_at_a_time_has_its_own_pace() -> None:
    pace = Pace()
    pace.observe(timings(decode_ms=1000), at_once=1)
    pace.observe(timings(decode_ms=3000), at_once=4)
    assert pace.expected_s(0, 10, at_once=1) == pytest.approx(1)
    assert pace.expected_s(0, 10, at_once=4) == pytest.approx(3)


def test_fewer_than_were_measured_are_no_slower() -> None:
    pace = Pace()
    pace.observe(timings(decode_ms=3000), at_once=4)
    assert pace.expected_s(0, 10, at_once=2) == pytest.approx(3)


def test_more_than_were_measured_are_taken_for_slower() -> None:
    pace = Pace()
    pace.observe(timings(decode_ms=1000), at_once=2)
    assert pace.expected_s(0, 10, at_once=2) < pace.expected_s(0, 10, at_once=3) < pace.expected_s(0, 10, at_once=8)
