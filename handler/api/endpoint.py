"""What an endpoint is: a file of this room that reads its requests, writes its answers and describes both.

It becomes a route by a line in `handler.http.app`, and a job of the worker function by one in `handler.worker.jobs`.
A calculation is a small one that needs no engine: one function from its body to its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from handler.api.events import Envelope, event
from handler.api.options import Served
from handler.api.prompt import Prompts, Task
from handler.errors import ApiError
from handler.text.deltas import Delta, ScoredToken
from handler.text.meter import Meter

if TYPE_CHECKING:
    from handler.api.schemas import Description  # Start-up doesn't need it.


class Answer(Protocol):
    """Writes the answer to one request; it may remember what it has written.

    Who streams asks for the events of each delta and then for the last ones; who doesn't, for the whole.
    """

    def events(self, delta: Delta) -> Iterator[bytes]:
        """Write the server-sent events of one more delta: none, one or several."""
        ...

    def end(self) -> Iterator[bytes]:
        """Write the events that come after those of the last delta."""
        ...

    def whole(self, choices: Sequence[Delta]) -> dict[str, Any]:
        """Return the answer that isn't streamed.

        Args:
            choices: All deltas of each choice, joined.
        """
        ...

    def logprobs(self, tokens: tuple[ScoredToken, ...]) -> dict[str, Any] | None:
        """Return the tokens' scores in the endpoint's own form; None for no tokens."""
        ...


class Asked(Protocol):
    """What every request says, whatever it is about."""

    @property
    def model(self) -> str:
        """The id of the model that is served."""
        ...

    @property
    def stream(self) -> bool:
        """Whether the answer comes as server-sent events."""
        ...


class Request(Protocol):
    """A body that was checked.

    Attributes:
        id_prefix: What the ids of its answers begin with.
    """

    id_prefix: ClassVar[str]

    @property
    def options(self) -> Asked:
        """What all endpoints understand."""
        ...

    @property
    def logged(self) -> object:
        """The prompt as the client wrote it, for a log with texts."""
        ...

    def tasks(self, prompts: Prompts) -> Sequence[Task]:
        """Say what the engine is to do, for each choice of the answer.

        Raises:
            ApiError: The template, the tokenizer or the context refuses the prompt.
        """
        ...

    def answer(self, envelope: Envelope, meter: Meter) -> Answer:
        """Begin the answer."""
        ...


def openai_refusal(error: ApiError) -> dict[str, Any]:
    """Return OpenAI's error body."""
    return error.body()


def openai_failure(error: ApiError, answer: Answer) -> bytes:
    """Write OpenAI's last event of a stream that an error ends."""
    return event(error.body())


@dataclass(frozen=True)
class Endpoint:
    """A path that takes requests.

    Attributes:
        path: Where it is POSTed.
        parse: Checks the JSON object of a body; raises an `ApiError` that names the member and the bad value.
        describe: Gives the endpoint's part of the OpenAPI description.
        refusal: Gives the body of an answer that is a status of 4xx or 5xx, whoever raised its error.
        failure: Writes the last event of a stream whose status line is out, given what has written the others.
    """

    path: str
    parse: Callable[[Mapping[str, Any], Served], Request]
    describe: Callable[[], Description]
    refusal: Callable[[ApiError], dict[str, Any]] = openai_refusal
    failure: Callable[[ApiError, Answer], bytes] = openai_failure


@dataclass(frozen=True)
class Calculation:
    """A path whose answers need no engine, so they don't wait for one.

    Attributes:
        path: Where it is POSTed.
        compute: Makes the answer's JSON object of the body's; raises an `ApiError` that names the member and the bad
            value. It runs in the thread that encodes prompts.
        describe: Gives its part of the OpenAPI description.
        refusal: Gives the body of an answer that is a status of 4xx or 5xx, whoever raised its error.
    """

    path: str
    compute: Callable[[Mapping[str, Any], Served, Prompts], dict[str, Any]]
    describe: Callable[[], Description]
    refusal: Callable[[ApiError], dict[str, Any]] = openai_refusal
