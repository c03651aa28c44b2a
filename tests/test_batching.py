"""The real process with several slots: many clients at once, each of whom gets what it would get alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import openai
import pytest

from tests.kernels.models import needs_library
from tests.server import Server

pytestmark = needs_library
T = TypeVar("T")
SLOTS = 4
NEVER_ENDS = {"logit_bias": {"2": -100, "6": -100}}
LONG = {
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "max_tokens": 300,
    "logprobs": True,  # so that it takes its time
    "top_logprobs": 20,
    **NEVER_ENDS,
}
QUESTIONS = [
    {"messages": [{"role": "user", "content": content}], "max_tokens": 40, **sampling}
    for content in ("What is 347 + 285?", "Tell me a story about a fox.", "What is 12 + 7?", "Tell me a story. " * 30)
    for sampling in ({"temperature": 0}, {"temperature": 1.0, "seed": 5}, {"temperature": 0.8, "top_p": 0.9, "seed": 6})
]


@dataclass(frozen=True)
class Served:
    """A server and a client of it."""

    server: Server
    client: openai.OpenAI

    def create(self, question: Mapping[str, Any]) -> Any:
        return self.client.chat.completions.create(model=self.server.model, **question)

    def stream(self, question: Mapping[str, Any]) -> Any:
        return self.create({**question, "stream": True})

    def text(self, question: Mapping[str, Any]) -> str:
        return "".join(choice.delta.content or "" for chunk in self.stream(question) for choice in chunk.choices)


@contextmanager
def serving(directory: Path, slots: int, **environ: str) -> Iterator[Served]:
    """Serve, and end in good order."""
    given = {"FIREBRICK_SLOTS": str(slots), "FIREBRICK_VERIFY": "quick", "FIREBRICK_PREFIX_CACHE": "0"}
    server = Server(directory, **given | environ)
    with server.client() as client:
        yield Served(server, client)
    assert server.end() == (0, "")


@pytest.fixture(scope="module")
def served(native_artefact: Path) -> Iterator[Served]:
    with serving(native_artefact, SLOTS, FIREBRICK_QUEUE="64") as served:
        yield served


@pytest.fixture(scope="module")
def alone(native_artefact: Path) -> list[str]:
    """What a server with one slot answers, one question after the other, without guesses."""
    with serving(native_artefact, 1, FIREBRICK_LOOKUP="0") as served:
        return [served.text(question) for question in QUESTIONS]


def at_once(count: int, function: Callable[[int], T], number: int) -> list[T]:
    """Call a function for 0 … number - 1, by so many threads."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(function, range(number)))


def test_each_of_several_clients_gets_what_it_gets_alone(served: Served, alone: Sequence[str]) -> None:
    count = len(QUESTIONS)
    found = at_once(SLOTS, lambda n: served.text(QUESTIONS[n % count]), 3 * count)
    assert found == [*alone] * 3


def test_clients_that_leave_harm_nobody(served: Served, alone: Sequence[str]) -> None:
    done = threading.Event()

    def leave(seed: int) -> None:
        rng = random.Random(seed)
        while not done.is_set():
            with served.stream({**rng.choice(QUESTIONS), "max_tokens": 300, **NEVER_ENDS}) as chunks:
                for _ in range(rng.randrange(6)):
                    next(chunks)

    with ThreadPoolExecutor(2) as leaving:
        leavers = [leaving.submit(leave, seed) for seed in range(2)]
        try:
            found = at_once(3, lambda n: served.text(QUESTIONS[n]), len(QUESTIONS))
        finally:
            done.set()
        for leaver in leavers:
            leaver.result(60)
    assert found == alone


def test_guesses_change_no_text(native_artefact: Path, alone: Sequence[str]) -> None:
    with serving(native_artefact, 1, FIREBRICK_LOOKUP="1") as served:
        assert [served.text(question) for question in QUESTIONS] == alone


def test_beyond_slots_and_queue_a_client_is_told_to_come_again(native_artefact: Path) -> None:
    with serving(native_artefact, 2, FIREBRICK_QUEUE="1") as served, ExitStack() as stack:
        longest = [stack.enter_context(served.stream(LONG | {"max_tokens": 10_000})) for _ in range(2)]
        for chunks in longest:
            next(chunks)
        refused: list[openai.RateLimitError] = []
        stopped = threading.Event()

        def ask(n: int) -> None:
            while not refused and not stopped.is_set():
                try:
                    served.create(QUESTIONS[0])
                except openai.RateLimitError as error:
                    refused.append(error)

        timer = threading.Timer(60, stopped.set)
        timer.start()
        at_once(6, ask, 6)  # more than two run and one waits, however long the streams take
        timer.cancel()
    assert int(refused[0].response.headers["retry-after"]) >= 1


def test_the_second_turn_of_a_chat_finds_the_first(native_artefact: Path) -> None:
    messages = [{"role": "user", "content": "Tell me a story about a fox. " * 4}]
    cached: list[int] = []
    with serving(native_artefact, 2, FIREBRICK_PREFIX_CACHE="1") as served:
        for _ in range(3):
            answer = served.create({"messages": messages, "max_tokens": 30, "temperature": 0})
            cached.append(answer.usage.prompt_tokens_details.cached_tokens)
            assert cached[-1] < answer.usage.prompt_tokens
            said = answer.choices[0].message.content
            messages += [{"role": "assistant", "content": said}, {"role": "user", "content": "And then?"}]
    assert cached[0] == 0
    assert cached == sorted(set(cached))


def test_without_the_prefix_cache_nothing_is_found(served: Served) -> None:
    answers = [served.create(QUESTIONS[0]) for _ in range(2)]
    assert [answer.usage.prompt_tokens_details.cached_tokens for answer in answers] == [0, 0]


def test_sigterm_lets_several_streams_finish(native_artefact: Path) -> None:
    with serving(native_artefact, 2) as served, ExitStack() as stack:
        streams = [stack.enter_context(served.stream(LONG)) for _ in range(2)]
        for chunks in streams:
            next(chunks)
        served.server.process.terminate()
        assert [list(chunks)[-1].choices[0].finish_reason for chunks in streams] == ["length"] * 2


def test_memory_does_not_grow_with_the_number_of_requests(native_artefact: Path) -> None:
    with serving(native_artefact, SLOTS, FIREBRICK_QUEUE="64", FIREBRICK_PREFIX_CACHE="1") as served:

        def ask(n: int) -> None:
            content = f"Tell me a story about {n % 7}. " * (1 + n % 9)
            served.create({"messages": [{"role": "user", "content": content}], "max_tokens": 1 + n % 12, "seed": n})

        at_once(SLOTS, ask, 150)
        before = resident(served.server)
        at_once(SLOTS, ask, 300)
        assert resident(served.server) - before < 30_000_000


def resident(server: Server) -> int:
    """Bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024
