from __future__ import annotations

from collections.abc import Generator

from handler.engine.sequence import Token
from handler.text.meter import Meter


def tokens(cached_tokens: int = 0) -> Generator[Token, None, None]:
    for id in range(2):
        yield Token(id, cached_tokens=cached_tokens)


def test_the_meter_counts() -> None:
    meter = Meter(prompt_tokens=3, received_at=0.0)
    meter.start()
    list(meter.count(tokens()))
    assert meter.usage() == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert [name for name, value in meter.timings().items() if value is None] == ["billed_ms", "estimated_cost_usd"]


def test_what_did_not_happen_has_no_time() -> None:
    meter = Meter(prompt_tokens=3, received_at=0.0)
    assert meter.timings()["prefill_ms"] is None
    assert meter.timings()["decode_tokens_per_second"] is None


def test_what_the_cache_had_of_a_prompt_counts_once() -> None:
    meter = Meter(prompt_tokens=6, received_at=0.0)
    for prompt in (1, 1, 2):
        list(meter.count(tokens(cached_tokens=2), prompt))
    assert meter.cached_tokens == 4
    assert meter.completion_tokens == 6


def test_what_was_read_for_its_scores_was_not_cached() -> None:
    meter = Meter(prompt_tokens=3, received_at=0.0)
    meter.scored(1)
    list(meter.count(tokens(cached_tokens=3), 1))
    assert meter.cached_tokens == 0


def test_what_the_cache_had_is_told() -> None:
    meter = Meter(prompt_tokens=3, received_at=0.0)
    list(meter.count(tokens(cached_tokens=2)))
    assert meter.usage()["prompt_tokens_details"] == {"cached_tokens": 2}
    assert meter.timings()["cached_tokens"] == 2
