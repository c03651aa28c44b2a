"""An engine whose answers go side by side, a token a step, and places for results that say when they are asked."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence

from handler.engine.cancellation import Cancellation
from handler.engine.constraint import Constraint
from handler.engine.memory import Room
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from handler.errors import Cancelled
from handler.model import Model
from handler.worker.results import Result
from tests.handler.doubles import BOS, TEMPLATE, ScriptedEngine, byte_model

WAIT_S = 60.0  # for an event that comes at once, if all is right


class SteppedEngine:
    """Repeats each prompt; one with "hold" in it never ends by itself, one with "fail" breaks.

    Attributes:
        begun: prompts, as their answers began.
        ended: prompts, as their answers ended.
        reading: how many prompts were being read, whenever an answer began, itself included.
        most: answers at a time.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.reading: list[int] = []
        self.most = 0
        self._unread = 0
        self._steps = 0

    def model(self, slots: int, room: Room | None = None) -> Model:
        """A byte model around it."""
        model = byte_model(ScriptedEngine(), 200, TEMPLATE)
        return dataclasses.replace(model, generate=self.generate, step=self.step, slots=slots, room=room)

    def step(self) -> None:
        """A token for everybody."""
        self._steps += 1
        time.sleep(0.0005)

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        max_tokens: int,
        stop_ids: Collection[int],
        cancellation: Cancellation,
        constraint: Constraint | None = None,
        /,
    ) -> Generator[Token | None, None, None]:
        """Yield the prompt's bytes."""
        prompt = bytes(id for id in prompt_ids if id != BOS).decode()
        self.begun.append(prompt)
        self._unread += 1
        self.reading.append(self._unread)
        self.most = max(self.most, len(self.begun) - len(self.ended))
        try:
            for count, byte in enumerate(prompt.encode()[:max_tokens]):
                yield from self._wait(cancellation)
                while count == 2 and "hold" in prompt:
                    yield from self._wait(cancellation)
                self._unread -= count == 0
                if "fail" in prompt:
                    raise RuntimeError("the engine broke")
                yield Token(byte)
        finally:
            self.ended.append(prompt)

    def _wait(self, cancellation: Cancellation) -> Generator[None, None, None]:
        before = self._steps
        while self._steps == before:
            if cancellation.cancelled:
                raise Cancelled
            yield None


class Notebook:
    """Results in memory, each with what had happened in the engine when it was kept."""

    def __init__(self, engine: SteppedEngine) -> None:
        self.results: dict[str, Result] = {}
        self.kept: list[tuple[str, list[str]]] = []
        self.asked: list[str] = []
        self.on_keep: Callable[[str], None] = lambda key: None
        self._engine = engine
        self._lock = threading.Lock()

    def has(self, key: str) -> bool:
        self.asked.append(key)
        return key in self.results

    def read(self, key: str) -> Result | None:
        return self.results.get(key)

    def keep(self, key: str, result: Result) -> bool:
        self.on_keep(key)
        with self._lock:
            self.kept.append((key, list(self._engine.begun)))
            return self.results.setdefault(key, result) is result
