from __future__ import annotations

from collections.abc import Generator, Iterable

import pytest

from handler.engine.sequence import Token
from handler.errors import TimeUp
from handler.text.deltas import CallDelta, Delta, joined, text_deltas
from handler.text.meter import Meter
from tests.handler.doubles import byte_tokenizer

BYTES = byte_tokenizer()


class Source:
    """Tokens, and whether their generator was closed."""

    def __init__(self, data: bytes, logprobs: bool = False) -> None:
        self.data, self.logprobs, self.made, self.closed = data, logprobs, 0, False

    def tokens(self) -> Generator[Token, None, None]:
        try:
            for byte in self.data:
                self.made += 1
                yield Token(byte, -1.0, ((byte, -1.0),)) if self.logprobs else Token(byte)
        finally:
            self.closed = True


def run(source: Source, stop: Iterable[str] = (), max_tokens: int = 100) -> list[Delta]:
    return [d for d in text_deltas(source.tokens(), BYTES, list(stop), max_tokens) if d is not None]


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


@pytest.mark.parametrize(("max_tokens", "reason"), [(4, "stop"), (3, "length")])
def test_as_many_tokens_as_allowed_mean_a_cut(max_tokens: int, reason: str) -> None:
    assert run(Source(b"abc"), max_tokens=max_tokens)[-1].finish_reason == reason


def test_no_token_at_all_is_an_empty_answer() -> None:
    assert run(Source(b"")) == [Delta("", finish_reason="stop")]


def test_every_token_gives_a_delta_and_the_end_another() -> None:
    assert len(run(Source("é".encode()))) == 3


def test_a_stop_string_ends_the_engine_with_the_token_that_completes_it() -> None:
    source = Source(b"one two three")
    deltas = run(source, [" two"])
    assert (text(deltas), deltas[-1].finish_reason) == ("one", "stop")
    assert (source.made, source.closed) == (7, True)


def test_the_end_tells_which_stop_string_it_was() -> None:
    assert run(Source(b"one two three"), ["x", " two"])[-1].stopped_by == " two"
    assert run(Source(b"one"), ["x"])[-1].stopped_by is None


def test_a_stop_string_in_the_last_token_is_a_stop() -> None:
    assert run(Source(b"abc"), ["c"], max_tokens=3)[-1].finish_reason == "stop"


def test_what_was_held_back_comes_at_the_end() -> None:
    assert text(run(Source(b"one tw"), [" two"])) == "one tw"


def test_closing_the_deltas_closes_the_engine() -> None:
    source = Source(b"abc")
    deltas = text_deltas(source.tokens(), BYTES, [], 10)
    next(deltas)
    deltas.close()
    assert source.closed


def test_scores_come_with_the_text_that_they_begin() -> None:
    deltas = run(Source("aé".encode(), logprobs=True))
    assert [[token.raw for token in delta.tokens] for delta in deltas] == [
        [b"a"],
        [],
        [b"\xc3", b"\xa9"],
        [],
    ]


def test_scores_know_where_their_text_begins() -> None:
    tokens = [token for delta in run(Source("éa".encode(), logprobs=True)) for token in delta.tokens]
    assert [token.offset for token in tokens] == [0, 0, 1]


def test_scores_of_a_stop_string_are_dropped_with_it() -> None:
    deltas = run(Source(b"abc", logprobs=True), ["bc"])
    assert [token.raw for delta in deltas for token in delta.tokens] == [b"a"]


def test_scores_of_tokens_without_text_come_at_the_end() -> None:
    deltas = run(Source(b"a\xc3", logprobs=True))
    assert [token.raw for token in deltas[-1].tokens] == [b"\xc3"]


def test_tokens_that_time_cut_off_are_an_answer() -> None:
    meter = Meter(prompt_tokens=3, received_at=0.0)

    def cut_off() -> Generator[Token, None, None]:
        yield from Source(b"ab").tokens()
        raise TimeUp

    deltas = [d for d in text_deltas(meter.count(cut_off()), BYTES, ["bc"], 100) if d is not None]
    assert (text(deltas), deltas[-1].finish_reason) == ("ab", "length")
    assert meter.timings()["stopped_by"] == "deadline"


def test_all_deltas_joined_are_one() -> None:
    deltas = run(Source(b"abc", logprobs=True))
    (whole,) = joined(deltas)
    assert (whole.text, whole.finish_reason) == ("abc", "stop")
    assert [token.raw for token in whole.tokens] == [b"a", b"b", b"c"]


def test_choices_are_joined_apart() -> None:
    deltas = [Delta("a"), Delta("x", index=1), Delta("b", finish_reason="stop"), Delta("y", index=1)]
    assert [(whole.index, whole.text, whole.finish_reason) for whole in joined(deltas)] == [
        (0, "ab", "stop"),
        (1, "xy", None),
    ]


def test_the_parts_of_a_call_are_joined() -> None:
    deltas = [
        Delta("", calls=(CallDelta(0, "c1", "add"),)),
        Delta("", calls=(CallDelta(0, arguments='{"a"'), CallDelta(1, "c2", "sub"))),
        Delta("", calls=(CallDelta(0, arguments=": 1}"),), reasoning="hm"),
    ]
    (whole,) = joined(deltas)
    assert whole.calls == (CallDelta(0, "c1", "add", '{"a": 1}'), CallDelta(1, "c2", "sub"))
    assert whole.reasoning == "hm"


def test_a_joined_call_knows_its_place_in_the_text() -> None:
    deltas = [Delta("ab"), Delta("c", calls=(CallDelta(0, "c1"),)), Delta("d", calls=(CallDelta(0), CallDelta(1)))]
    assert [call.offset for call in joined(deltas)[0].calls] == [3, 4]
