"""A request → the chunks of its answer: what the server and the worker function have in common."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from handler.api.events import Chunk, Envelope, Shape, chunks
from handler.api.options import Request
from handler.deadline import Deadline, until
from handler.engine.cancellation import Cancellable
from handler.model import Model
from handler.text.deltas import Meter, text_deltas


@dataclass(frozen=True)
class Generation:
    """A request that is ready for the engine."""

    request: Request
    shape: Shape
    prompt_ids: Sequence[int]
    max_tokens: int
    envelope: Envelope
    meter: Meter
    deadline: Deadline | None


def prepare(
    model: Model, request: Request, shape: Shape, id: str, received_at: float, deadline: Deadline | None = None
) -> Generation:
    """Encode a request.

    Args:
        model: What will answer.
        request: Validated.
        shape: Of the answer.
        id: The answer's, without the shape's prefix.
        received_at: Seconds of `time.perf_counter`.
        deadline: When the answer must be at its end; None for never.

    Raises:
        ApiError: Template, tokenizer or context refuses the prompt.
    """
    prompt_ids, max_tokens = model.prompts.encode(request)
    envelope = Envelope(shape.id_prefix + id, int(time.time()), request.options.model, model.fingerprint)
    return Generation(request, shape, prompt_ids, max_tokens, envelope, Meter(len(prompt_ids), received_at), deadline)


def generate(model: Model, generation: Generation, cancellation: Cancellable) -> Generator[Chunk | None, None, None]:
    """Give the chunks of the answer; closing them frees the engine.

    Raises:
        Cancelled: The cancellation was used.
        DeadlineExceeded: There was no token before the deadline; an answer that has begun ends in good order instead.
    """
    options = generation.request.options
    generation.meter.start()
    tokens = model.generate(
        generation.prompt_ids, options.sampling, generation.max_tokens, model.stop_ids, cancellation
    )
    if generation.deadline is not None:
        tokens = until(generation.deadline, tokens, cancellation)
    deltas = text_deltas(generation.meter.count(tokens), model.vocabulary, options.stop, generation.max_tokens)
    # The answer that isn't streamed takes its usage from the last chunk.
    include_usage = options.include_usage or not options.stream
    return chunks(generation.shape, generation.envelope, deltas, generation.meter, include_usage)
