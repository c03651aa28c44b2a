"""A request → the deltas of its answer: what the server and the worker function have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

from handler.api.endpoint import Answer, Request
from handler.api.events import Envelope
from handler.api.prompt import TextTask
from handler.deadline import Deadline, Expiry
from handler.engine.cancellation import Cancellable
from handler.errors import DeadlineExceeded, TimeUp
from handler.model import Model
from handler.text.deltas import Delta, ScoredToken, Token, prompt_scores, text_deltas
from handler.text.meter import Meter
from handler.text.reading import read
from handler.text.shown import Shown
from handler.turns import Work, side_by_side


@dataclass(frozen=True)
class Generation:
    """A request that is ready for the engine, and the answer that begins.

    Attributes:
        request: Validated.
        tasks: What the engine is to do, for each choice of the answer.
        envelope: What the answer says of itself.
        meter: Counts the answer's tokens and takes its times.
        answer: Writes it.
        deadline: When it must be at its end; None for never.
    """

    request: Request
    tasks: Sequence[TextTask]
    envelope: Envelope
    meter: Meter
    answer: Answer
    deadline: Deadline | None

    @property
    def max_tokens(self) -> int:
        """How many tokens all choices may have together."""
        return sum(task.max_tokens for task in self.tasks)

    @property
    def longest(self) -> int:
        """How many tokens a choice may take of the context, with its prompt."""
        return max(len(task.prompt_ids) + task.max_tokens for task in self.tasks)


def prepare(
    model: Model, request: Request, id: str, received_at: float, deadline: Deadline | None = None
) -> Generation:
    """Encode a request.

    Args:
        model: What will answer.
        request: Validated.
        id: The answer's, without the endpoint's prefix.
        received_at: Seconds of `time.perf_counter`.
        deadline: When the answer must be at its end; None for never.

    Raises:
        ApiError: Template, tokenizer or context refuses the prompt.
    """
    tasks = request.tasks(model.prompts)
    envelope = Envelope(request.id_prefix + id, int(time.time()), request.options.model, model.fingerprint)
    meter = Meter(_prompt_tokens(tasks), received_at)
    return Generation(request, tasks, envelope, meter, request.answer(envelope, meter), deadline)


def _prompt_tokens(tasks: Sequence[TextTask]) -> int:
    # Choices of one prompt share its ids.
    prompts = {id(task.prompt_ids): len(task.prompt_ids) for task in tasks}
    return sum(prompts.values())


def generate(
    model: Model, generation: Generation, cancellation: Cancellable, at_once: Callable[[], int] = lambda: 1
) -> Generator[Delta | None, None, None]:
    """Give the deltas of the answer, and None where it takes a step to go on; closing them frees the engine.

    Choices of one prompt begin when the first of them has its first token, so that the prompt is read once.

    Args:
        model: What answers.
        generation: Of the answer.
        cancellation: Ends it from outside.
        at_once: How many choices may be made side by side now.

    Raises:
        Cancelled: The cancellation was used.
        DeadlineExceeded: There was no token before the deadline; an answer that has begun ends in good order instead.
    """
    generation.meter.start()
    watch = nullcontext() if generation.deadline is None else Expiry(generation.deadline, cancellation)
    with watch as expiry:
        choices = _Choices(model, generation.meter, cancellation, expiry)
        works = [(id(task.prompt_ids), choices.work(task)) for task in generation.tasks]
        with closing(side_by_side(works, at_once)) as deltas:
            for delta in deltas:
                yield delta and replace(delta[1], index=delta[0])


class _Choices:
    """Makes the choices of one answer."""

    def __init__(self, model: Model, meter: Meter, cancellation: Cancellable, expiry: Expiry | None) -> None:
        self._model = model
        self._meter = meter
        self._cancellation = cancellation
        self._expiry = expiry
        self._scores: dict[int, tuple[ScoredToken, ...]] = {}  # of prompts

    def work(self, task: TextTask) -> Work[Delta]:
        return lambda: self._deltas(task)

    def _deltas(self, task: TextTask) -> Generator[Delta | None, None, None]:
        if task.echo is not None:
            yield from self._echoed(task)
        if task.max_tokens == 0:
            yield Delta("", finish_reason="length")
            return
        model, ending = self._model, task.ending
        constraint = task.constraint() if task.constraint is not None else None
        stop_ids = frozenset() if ending.ignore_eos and constraint is None else model.stop_ids
        tokens = model.generate(
            task.prompt_ids, task.sampling, task.max_tokens, stop_ids | ending.stop_ids, self._cancellation, constraint
        )
        counted = self._meter.count(self._in_time(tokens), id(task.prompt_ids))
        offset = len(task.echo.text) if task.echo is not None else 0
        vocabulary = Shown(model.vocabulary, task.shown) if task.shown else model.vocabulary
        deltas = text_deltas(counted, vocabulary, task.stop, task.max_tokens, ending, offset)
        yield from deltas if task.reader is None else read(deltas, task.reader())

    def _echoed(self, task: TextTask) -> Generator[Delta | None, None, None]:
        """Give the prompt, with its scores if they are wanted; those of a prompt's first choice are all the others'."""
        assert task.echo is not None
        if task.sampling.top_logprobs is None:
            yield Delta(task.echo.text)
            return
        key = id(task.prompt_ids)
        if key not in self._scores:
            tokens = yield from self._scored(task.prompt_ids, task.sampling.top_logprobs)
            self._scores[key] = prompt_scores(tokens, self._model.vocabulary, task.prompt_ids[0], task.echo.offsets)
        yield Delta(task.echo.text, self._scores[key])

    def _scored(self, ids: Sequence[int], top_logprobs: int) -> Generator[None, None, Sequence[Token]]:
        found: list[Token] = []
        try:
            with closing(self._in_time(self._model.score(ids, top_logprobs, self._cancellation))) as tokens:
                for token in tokens:
                    if token is None:
                        yield None
                    else:
                        found.append(token)
        except TimeUp:  # Some of the scores are no answer.
            raise DeadlineExceeded() from None
        self._meter.scored(id(ids))
        return found

    def _in_time(self, tokens: Generator[Token | None, None, None]) -> Generator[Token | None, None, None]:
        return tokens if self._expiry is None else self._expiry.until(tokens)
