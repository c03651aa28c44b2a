"""Whatever has happened before and beside it, an answer is the model's: nothing of another text gets into it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from handler.artefact import GRAPH, Artefact, load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from handler.engine.session import create_session
from tests.handler.engine.rescoring import Rescoring
from tests.kernels.models import LIBRARY, needs_library

pytestmark = needs_library
SLOTS = 4
NUMBERS = st.integers(0, 99)
PARAMS = [
    SamplingParams(temperature=0, top_logprobs=2),
    SamplingParams(temperature=1.0, seed=7, top_logprobs=1),
    SamplingParams(temperature=0, repetition_penalty=1.2, presence_penalty=0.4, top_logprobs=0),
]


@dataclass
class Underway:
    prompt: Sequence[int]
    cancellation: Cancellation
    tokens: Generator[Token | None, None, None]
    found: list[Token] = field(default_factory=list)

    @property
    def text(self) -> list[int]:
        return [*self.prompt, *(token.id for token in self.found)]


class Histories(RuleBasedStateMachine):
    """Answers begin, go on, end, are cancelled and closed; texts go on where others were left.

    How far an answer comes in a step is a matter of the clock; so what is drawn depends on nothing that has come.
    """

    session: onnxruntime.InferenceSession
    artefact: Artefact
    rescoring: Rescoring

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(self.session, self.artefact, EngineOptions(64, SLOTS), rows=4)
        self.underway: list[Underway] = []
        self.texts: list[list[int]] = [[]]

    @rule(
        text=NUMBERS,
        common=st.integers(0, 600),
        seed=st.integers(0, 9),
        new=st.integers(1, 200),
        repeats=st.booleans(),
        params=st.sampled_from(PARAMS),
        max_tokens=st.integers(1, 40),
    )
    def begin(
        self, text: int, common: int, seed: int, new: int, repeats: bool, params: SamplingParams, max_tokens: int
    ) -> None:
        """A prompt that begins like a text that there was, or like one that is underway."""
        if len(self.underway) == SLOTS:
            return
        texts = [*self.texts, *(one.text for one in self.underway)]
        ids = np.random.default_rng(seed).integers(8, 2048, new).tolist()
        prompt = [*texts[text % len(texts)][:common], *((ids[:9] * new)[:new] if repeats else ids)]
        cancellation = Cancellation()
        tokens = self.engine.answer(prompt, params, max_tokens, {2, 6}, cancellation)
        self.underway.append(Underway(prompt, cancellation, tokens))

    @rule(number=NUMBERS, steps=st.integers(1, 12))
    def advance(self, number: int, steps: int) -> None:
        """One is pulled, as by a reader of its own; the others' tokens wait."""
        one = self._one(number)
        for _ in range(steps):
            if one is None or not self._pull(one):
                break

    @rule(rounds=st.integers(1, 12))
    def advance_all(self, rounds: int) -> None:
        """All are pulled, then there is a step, as the scheduler does it."""
        for _ in range(rounds):
            for one in list(self.underway):
                for token in one.tokens:
                    if token is None:
                        break
                    one.found.append(token)
                else:
                    self._end(one)
            self.engine.step()

    @rule(number=NUMBERS, cancels=st.booleans())
    def leave(self, number: int, cancels: bool) -> None:
        one = self._one(number)
        if one is None:
            return
        if cancels:
            one.cancellation.cancel()
            self.engine.step()  # the others' step comes before it is closed
        one.tokens.close()
        self._end(one)

    def _one(self, number: int) -> Underway | None:
        return self.underway[number % len(self.underway)] if self.underway else None

    def _pull(self, one: Underway) -> bool:
        """Take a token, or make a step where there is none; tells whether the answer goes on."""
        for token in one.tokens:
            if token is None:
                self.engine.step()
            else:
                one.found.append(token)
            return True
        self._end(one)
        return False

    def _end(self, one: Underway) -> None:
        self.underway.remove(one)
        self.texts.append(one.text)
        if one.found:
            self.rescoring.check(one.prompt, one.found)

    @invariant()
    def no_slot_is_lost(self) -> None:
        assert SLOTS - len(self.underway) <= self.engine.slots.free <= SLOTS

    def teardown(self) -> None:
        for one in list(self.underway):
            one.tokens.close()
            self._end(one)
        assert self.engine.slots.free == SLOTS


def test_any_history(native_artefact: Path) -> None:
    Histories.artefact = load_artefact(native_artefact, "quick")
    Histories.session = create_session(native_artefact / GRAPH, 2, library=LIBRARY)
    Histories.rescoring = Rescoring(native_artefact)
    run_state_machine_as_test(Histories, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
