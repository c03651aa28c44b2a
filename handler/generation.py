"""A request → the deltas of its answer: what the server and the worker function have in common."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from handler.api.endpoint import Answer, Request
from handler.api.events import Envelope
from handler.api.prompt import EmbeddingTask, Task, TextTask
from handler.deadline import Deadline, until
from handler.engine.cancellation import Cancellable
from handler.errors import DeadlineExceeded, TimeUp
from handler.model import Model
from handler.text.deltas import Delta, text_deltas
from handler.text.meter import Meter
from handler.text.reading import read
from handler.text.shown import Shown


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
    tasks: Sequence[Task]
    envelope: Envelope
    meter: Meter
    answer: Answer
    deadline: Deadline | None

    @property
    def max_tokens(self) -> int:
        """How many tokens all choices may have together."""
        return sum(task.max_tokens for task in self.tasks)


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


def _prompt_tokens(tasks: Sequence[Task]) -> int:
    # Choices of one prompt share its ids.
    prompts = {id(task.prompt_ids): len(task.prompt_ids) for task in tasks}
    return sum(prompts.values())


def generate(model: Model, generation: Generation, cancellation: Cancellable) -> Generator[Delta | None, None, None]:
    """Give the deltas of the answer, and None where it takes a step to go on; closing them frees the engine.

    Raises:
        Cancelled: The cancellation was used.
        DeadlineExceeded: There was no token before the deadline; an answer that has begun ends in good order instead.
    """
    generation.meter.start()
    inputs = [task for task in generation.tasks if isinstance(task, EmbeddingTask)]
    if inputs:
        yield from _embeddings(model, generation, inputs, cancellation)
        return
    texts = [task for task in generation.tasks if isinstance(task, TextTask)]
    for index, task in enumerate(texts):
        with closing(_choice(model, generation, task, cancellation)) as deltas:
            for delta in deltas:
                yield delta and replace(delta, index=index)


def _choice(
    model: Model, generation: Generation, task: TextTask, cancellation: Cancellable
) -> Generator[Delta | None, None, None]:
    constraint = task.constraint() if task.constraint is not None else None
    tokens = model.generate(task.prompt_ids, task.sampling, task.max_tokens, model.stop_ids, cancellation, constraint)
    if generation.deadline is not None:
        tokens = until(generation.deadline, tokens, cancellation)
    vocabulary = Shown(model.vocabulary, task.shown) if task.shown else model.vocabulary
    deltas = text_deltas(generation.meter.count(tokens), vocabulary, task.stop, task.max_tokens)
    return deltas if task.reader is None else read(deltas, task.reader())


def _embeddings(
    model: Model, generation: Generation, inputs: Sequence[EmbeddingTask], cancellation: Cancellable
) -> Generator[Delta | None, None, None]:
    """One input after the other, so that they take one place of the cache between them."""
    vectors = _vectors(model, generation, inputs, cancellation)
    if generation.deadline is None:
        yield from vectors
        return
    try:
        yield from until(generation.deadline, vectors, cancellation)
    except TimeUp:  # Some of the inputs are no answer.
        raise DeadlineExceeded() from None


def _vectors(
    model: Model, generation: Generation, inputs: Sequence[EmbeddingTask], cancellation: Cancellable
) -> Generator[Delta | None, None, None]:
    for index, task in enumerate(inputs):
        with closing(model.embed(task.prompt_ids, cancellation)) as items:
            for item in items:
                if item is None:
                    yield None
                    continue
                generation.meter.read(item.cached_tokens, last=index == len(inputs) - 1)
                yield Delta("", index=index, embedding=item.vector)
