"""Several answers at a time: each is what it is alone, bit for bit, whatever happens beside it."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from handler.artefact import load_artefact
from handler.deadline import Deadline, until
from handler.engine.cancellation import Cancellation
from handler.engine.costs import Costs
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from handler.errors import Cancelled, DeadlineExceeded
from handler.turns import Turns
from tests.kernels.models import LIBRARY, needs_library

pytestmark = needs_library
ALONE = EngineOptions(keep_prefixes=False, lookup=False)
GREEDY = SamplingParams(temperature=0, top_logprobs=2)
ENDLESS = SamplingParams(temperature=0, top_logprobs=2, logit_bias={2: -100.0, 6: -100.0})  # the demo's ends of a text


def load(directory: Path, options: EngineOptions) -> Engine:
    return Engine.load(load_artefact(directory, "quick"), 2, options, LIBRARY)


@pytest.fixture(scope="module")
def alone(native_artefact: Path) -> Engine:
    return load(native_artefact, ALONE)


@dataclass(frozen=True)
class Asked:
    """What one client wants."""

    prompt: Sequence[int]
    params: SamplingParams
    max_tokens: int
    starts_at: int = 0  # round
    leaves_after: int | None = None  # tokens


@dataclass
class Client:
    asked: Asked
    cancellation: Cancellation = field(default_factory=Cancellation)
    tokens: list[Token] = field(default_factory=list)

    def deliver(self, token: Token) -> None:
        self.tokens.append(token)
        if len(self.tokens) == self.asked.leaves_after:
            self.cancellation.cancel()


def together(engine: Engine, asked: Sequence[Asked]) -> list[Client]:
    """Run all, as the scheduler does."""
    clients = [Client(one) for one in asked]
    turns: Turns[int, Token] = Turns(engine.step)
    rounds, waiting = 0, dict(enumerate(clients))
    while waiting or turns:
        for key, client in list(waiting.items()):
            if client.asked.starts_at <= rounds:
                one = waiting.pop(key).asked
                turns.add(
                    key,
                    lambda one=one, client=client: engine.answer(  # type: ignore[misc]
                        one.prompt, one.params, one.max_tokens, {2, 6}, client.cancellation
                    ),
                )
        for key, error in turns.round(lambda key, token: clients[key].deliver(token)).items():
            assert error is None or (isinstance(error, Cancelled) and clients[key].cancellation.cancelled), error
        rounds += 1
    return clients


def by_itself(engine: Engine, asked: Asked) -> list[Token]:
    return list(engine.generate(asked.prompt, asked.params, asked.max_tokens, {2, 6}, Cancellation()))


def assert_as_alone(clients: Sequence[Client], alone: Engine) -> None:
    for client in clients:
        expected = by_itself(alone, client.asked)
        if client.asked.leaves_after is not None:
            expected = expected[: client.asked.leaves_after]
        assert [(t.id, t.logprob, t.top_logprobs) for t in client.tokens] == [
            (t.id, t.logprob, t.top_logprobs) for t in expected
        ]


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    length = draw(st.one_of(st.integers(1, 20), st.integers(1, 600)))
    prompt = rng.integers(8, 2048, length).tolist()
    if draw(st.booleans()):  # something to look up
        prompt = (prompt[:30] * 20)[:length]
    params = draw(
        st.sampled_from(
            [
                GREEDY,
                SamplingParams(temperature=1.0, seed=draw(st.integers(0, 99)), top_logprobs=1),
                SamplingParams(temperature=0.7, top_p=0.9, seed=3, presence_penalty=0.5, top_logprobs=0),
                SamplingParams(temperature=0, repetition_penalty=1.3, frequency_penalty=0.4, top_logprobs=0),
                SamplingParams(temperature=0, logit_bias={100: 5.0, 101: 4.9}, top_logprobs=0),
            ]
        )
    )
    leaves = draw(st.one_of(st.none(), st.none(), st.integers(1, 10)))
    return Asked(prompt, params, draw(st.integers(1, 40)), draw(st.integers(0, 12)), leaves)


@settings(max_examples=25)
@given(asked=st.lists(requests(), min_size=1, max_size=8), lookup=st.booleans())
def test_whatever_is_beside_it_an_answer_is_as_if_alone(
    native_artefact: Path, alone: Engine, asked: list[Asked], lookup: bool
) -> None:
    engine = _shared(native_artefact, lookup)
    assert_as_alone(together(engine, asked), alone)
    assert engine.slots.free == 8


_engines: dict[tuple[Path, bool], Engine] = {}


def _shared(directory: Path, lookup: bool) -> Engine:
    """One engine for all examples: what one leaves behind mustn't matter to the next."""
    if (directory, lookup) not in _engines:
        _engines[directory, lookup] = load(directory, EngineOptions(slots=8, keep_prefixes=False, lookup=lookup))
    return _engines[directory, lookup]


@pytest.fixture(scope="module", autouse=True)
def forget() -> None:
    _engines.clear()


def test_guesses_change_nothing_but_the_number_of_steps(
    native_artefact: Path, alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Costs, "note", lambda self, rows, seconds: None)  # a busy machine's steps may be worth no guess
    engine = load(native_artefact, EngineOptions(keep_prefixes=False))
    asked = Asked([9, 10, 11, 12, 13, 14] * 30, GREEDY, 60)
    expected = by_itself(alone, asked)
    steps = counted(engine)
    assert by_itself(engine, asked) == expected
    assert len(steps) < len(expected) * 0.7


def counted(engine: Engine) -> list[int]:
    """Rows of each step from now on."""
    rows: list[int] = []
    run = engine.steps.run

    def counting(slots: Sequence[int], *rest: object, **others: object) -> object:
        rows.append(len(slots))
        return run(slots, *rest, **others)  # type: ignore[arg-type]

    engine.steps.run = counting  # type: ignore[method-assign,assignment]
    return rows


def test_a_step_serves_all_that_decode(native_artefact: Path) -> None:
    engine = load(native_artefact, EngineOptions(slots=4, lookup=False))
    rows = counted(engine)
    together(engine, [Asked([20 + n], ENDLESS, 12) for n in range(4)])
    assert rows.count(4) >= 8


def test_a_long_prompt_comes_in_parts_between_the_others_steps(native_artefact: Path) -> None:
    engine = load(native_artefact, EngineOptions(slots=2, lookup=False))
    turns: Turns[int, Token] = Turns(engine.step)
    got: list[int] = []
    turns.add(0, lambda: engine.answer([9], GREEDY, 400, (), Cancellation()))
    while not got:
        turns.round(lambda key, token: got.append(key))
    turns.add(1, lambda: engine.answer([10] * 600, GREEDY, 1, (), Cancellation()))
    while 1 not in got:
        turns.round(lambda key, token: got.append(key))
    assert got.count(0) >= 2  # one beside the prompt's first part at the least


def test_a_short_prompt_does_not_wait_for_the_end_of_a_long_one(
    native_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handler.engine.engine.PREFILL_WAIT_S", 0)  # as if the model were slow
    engine = load(native_artefact, EngineOptions(prefill_chunk=64, slots=3, lookup=False))
    turns: Turns[str, Token] = Turns(engine.step)
    order: list[str] = []
    for name, prompt in (("long", [10] * 900), ("another", [11] * 900), ("short", [12] * 20)):
        turns.add(name, lambda prompt=prompt: engine.answer(prompt, GREEDY, 1, (), Cancellation()))  # type: ignore[misc]
    while turns:
        turns.round(lambda key, token: order.append(key))
    assert order == ["short", "long", "another"]


def test_who_leaves_in_the_middle_of_a_step_harms_nobody(native_artefact: Path, alone: Engine) -> None:
    engine = load(native_artefact, EngineOptions(slots=3, lookup=False))
    asked = [Asked([30 + n] * 5, GREEDY, 200) for n in range(3)]
    clients = [Client(one) for one in asked]
    turns: Turns[int, Token] = Turns(engine.step)
    for key, client in enumerate(clients):
        turns.add(
            key,
            lambda client=client: engine.answer(  # type: ignore[misc]
                client.asked.prompt, GREEDY, 200, {2, 6}, client.cancellation
            ),
        )
    threading.Timer(0.03, clients[1].cancellation.cancel).start()
    while turns:
        turns.round(lambda key, token: clients[key].tokens.append(token))
    for client in (clients[0], clients[2]):
        assert client.tokens == by_itself(alone, client.asked)
    left = clients[1].tokens
    assert left == by_itself(alone, clients[1].asked)[: len(left)]
    assert engine.slots.free == 3


def test_prompts_that_come_together_read_what_they_begin_with_once(native_artefact: Path) -> None:
    engine = load(native_artefact, EngineOptions(slots=4, lookup=False))
    instructions = np.random.default_rng(1).integers(8, 2048, 150).tolist()
    clients = together(engine, [Asked([*instructions, 20 + n, 30 + n], GREEDY, 3) for n in range(4)])
    assert [client.tokens[0].cached_tokens for client in clients] == [0, 150, 150, 150]


def test_no_more_answers_than_slots(native_artefact: Path) -> None:
    engine = load(native_artefact, EngineOptions(slots=1))
    first = engine.generate([9], GREEDY, 5, (), Cancellation())
    next(first)
    with pytest.raises(LookupError, match="1 slots are taken"):
        next(engine.generate([9], GREEDY, 5, (), Cancellation()))


@pytest.mark.parametrize("broken", ["allowed", "forced", "prepare", "advance"])
def test_an_error_of_one_answer_is_its_own(native_artefact: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.engine.engine.LONG_STEP_S", -1.0)  # so that every step is worth preparing for

    class Broken:
        ended = False

        def allowed(self) -> NDArray[np.uint8]:
            self._called("allowed")
            return np.full(1000, 255, dtype=np.uint8)

        def forced(self) -> Sequence[int]:
            self._called("forced")
            return ()

        def prepare(self) -> None:
            self._called("prepare")

        def fitting(self, tokens: Sequence[int]) -> int:
            return len(tokens)

        def advance(self, token: int) -> None:
            self._called("advance")

        def _called(self, name: str) -> None:
            if name == broken:
                raise RuntimeError("no grammar")

    engine = load(native_artefact, EngineOptions(slots=2))
    turns: Turns[str, Token] = Turns(engine.step)
    turns.add("good", lambda: engine.answer([9], GREEDY, 5, (), Cancellation()))
    turns.add("bad", lambda: engine.answer([9], GREEDY, 5, (), Cancellation(), Broken()))
    ended: dict[str, Exception | None] = {}
    while turns:
        ended |= turns.round(lambda key, token: None)
    assert ended["good"] is None
    assert str(ended["bad"]) == "no grammar"


def broken_step(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's next step fails, as onnxruntime does where memory is short."""
    run = engine.steps.run

    def fail(*arguments: object) -> object:
        monkeypatch.setattr(engine.steps, "run", run)
        raise MemoryError("no step")

    monkeypatch.setattr(engine.steps, "run", fail)


def test_a_step_that_fails_ends_those_that_decode_and_no_later_ones(
    native_artefact: Path, alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(native_artefact, EngineOptions(slots=3))
    decoding = [engine.answer([20 + n] * 9, ENDLESS, 50, {2, 6}, Cancellation()) for n in range(2)]
    for answer in decoding:
        while next(answer) is None:
            engine.step()
    broken_step(engine, monkeypatch)
    engine.step()
    for answer in decoding:
        with pytest.raises(MemoryError, match="no step"):
            list(answer)
    assert engine.slots.free == 3
    late = Asked([20] * 9, GREEDY, 20)
    assert len(by_itself(engine, late)) == len(by_itself(alone, late))


def test_a_prefill_that_fails_ends_its_own_answer_alone(
    native_artefact: Path, alone: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handler.engine.engine.PREFILL_WAIT_S", 3600)  # a prompt comes before those that decode
    engine = load(native_artefact, EngineOptions(slots=2))
    asked = Asked([20] * 9, GREEDY, 20)
    sound = engine.generate(asked.prompt, GREEDY, 20, {2, 6}, Cancellation())
    found = [next(sound), next(sound)]
    broken = engine.answer([40] * 9, GREEDY, 20, {2, 6}, Cancellation())
    assert next(broken) is None
    broken_step(engine, monkeypatch)
    engine.step()
    with pytest.raises(MemoryError, match="no step"):
        list(broken)
    assert [*found, *sound] == by_itself(alone, asked)


def test_a_deadline_during_another_s_prefill_is_kept_and_harms_it_not(native_artefact: Path) -> None:
    engine = load(native_artefact, EngineOptions(prefill_chunk=32, slots=2, lookup=False))
    asked = Asked([10, 11, 12] * 300, GREEDY, 3)
    got: list[Token] = []
    turns: Turns[str, Token] = Turns(engine.step)
    turns.add("long", lambda: engine.answer(asked.prompt, GREEDY, 3, {2, 6}, Cancellation()))
    turns.round(lambda key, token: got.append(token))
    cancellation = Cancellation()
    late = engine.answer([9] * 40, GREEDY, 3, {2, 6}, cancellation)
    turns.add("late", lambda: until(Deadline(time.time()), late, cancellation))
    ended: dict[str, Exception | None] = {}
    while turns:
        ended |= turns.round(lambda key, token: got.append(token))
    assert isinstance(ended["late"], DeadlineExceeded)
    assert ended["long"] is None
    plain = load(native_artefact, EngineOptions(prefill_chunk=32, keep_prefixes=False, lookup=False))
    assert got == by_itself(plain, asked)
    assert engine.slots.free == 2


def test_threads_of_several_readers_may_take_the_steps(native_artefact: Path, alone: Engine) -> None:
    engine = load(native_artefact, EngineOptions(slots=4, keep_prefixes=False))
    asked = [Asked([60 + n] * 5, GREEDY, 1 + n % 4) for n in range(200)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as readers:
            found = list(readers.map(lambda one: by_itself(engine, one), asked))
    finally:
        sys.setswitchinterval(interval)
    assert found == [by_itself(alone, one) for one in asked]


def test_a_last_token_that_another_thread_makes_between_two_looks_is_given_out(
    native_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(native_artefact, EngineOptions())

    class Meanwhile(deque[Token]):
        def __bool__(self) -> bool:
            found = len(self) > 0
            engine.step()
            return found

    monkeypatch.setattr("handler.engine.sequence.deque", Meanwhile)
    answer = engine.answer([9], GREEDY, 1, (), Cancellation())
    assert next(answer) is None
    assert len([token for token in answer if token is not None]) == 1
