"""A request → the deltas of its answer: what the server and the worker function have in common."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

from handler.api.endpoint import Answer, Request
from handler.api.events import Envelope
from handler.api.prompt import TextTask
from handler.deadline import Deadline, until
from handler.engine.cancellation import Cancellable
from handler.model import Model
from handler.text.deltas import Delta, text_deltas
from handler.text.meter import Meter


@dataclass(frozen=True)
class Generation:
    """A request that is ready for the engine, and the answer that begins.

    Attributes:
        request: Validated.
        task: What the engine is to do.
        envelope: What the answer says of itself.
        meter: Counts the answer's tokens and takes its times.
        answer: Writes it.
        deadline: When it must be at its end; None for never.
    """

    request: Request
    task: TextTask
    envelope: Envelope
    meter: Meter
    answer: Answer
    deadline: Deadline | None


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
    task = request.task(model.prompts)
    envelope = Envelope(request.id_prefix + id, int(time.time()), request.options.model, model.fingerprint)
    meter = Meter(len(task.prompt_ids), received_at)
    return Generation(request, task, envelope, meter, request.answer(envelope, meter), deadline)


def generate(model: Model, generation: Generation, cancellation: Cancellable) -> Generator[Delta | None, None, None]:
    """Give the deltas of the answer, and None where it takes a step to go on; closing them frees the engine.

    Raises:
        Cancelled: The cancellation was used.
        DeadlineExceeded: There was no token before the deadline; an answer that has begun ends in good order instead.
    """
    task = generation.task
    generation.meter.start()
    tokens = model.generate(task.prompt_ids, task.sampling, task.max_tokens, model.stop_ids, cancellation)
    if generation.deadline is not None:
        tokens = until(generation.deadline, tokens, cancellation)
    return text_deltas(generation.meter.count(tokens), model.vocabulary, task.stop, task.max_tokens)
