"""A request → the deltas of its answer: what the server and the worker function have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

from handler.api.endpoint import Answer, Request
from handler.api.events import Envelope
from handler.api.prompt import EmbeddingTask, Task, TextTask
from handler.choices import Choices
from handler.deadline import Deadline, Expiry, until
from handler.engine.cancellation import Cancellable
from handler.errors import DeadlineExceeded, TimeUp
from handler.model import Model
from handler.text.deltas import Delta
from handler.text.meter import Meter
from handler.turns import side_by_side


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
    def side_by_side(self) -> int:
        """How many slots it can use; inputs that become vectors take one between them."""
        return max(1, sum(isinstance(task, TextTask) for task in self.tasks))

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
    meter = Meter(_prompt_tokens(tasks), received_at, share=model.bill.share())
    return Generation(request, tasks, envelope, meter, request.answer(envelope, meter), deadline)


def _prompt_tokens(tasks: Sequence[Task]) -> int:
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
    inputs = [task for task in generation.tasks if isinstance(task, EmbeddingTask)]
    if inputs:
        yield from _embeddings(model, generation, inputs, cancellation)
        return
    texts = [task for task in generation.tasks if isinstance(task, TextTask)]
    watch = nullcontext() if generation.deadline is None else Expiry(generation.deadline, cancellation)
    with watch as expiry:
        choices = Choices(model, generation.meter, cancellation, expiry)
        works = [(id(task.prompt_ids), choices.work(task)) for task in texts]
        with closing(side_by_side(works, at_once)) as deltas:
            for delta in deltas:
                yield delta and replace(delta[1], index=delta[0])


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
