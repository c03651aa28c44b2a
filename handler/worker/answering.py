"""A job that begins → its result, a step at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

from handler.generation import Generation, generate
from handler.model import Model
from handler.text.deltas import Delta, joined
from handler.worker.jobs import Job
from handler.worker.results import Result, result_of
from handler.worker.telemetry import Telemetry

T = TypeVar("T")


def answered(
    model: Model, job: Job, generation: Generation, telemetry: Telemetry, at_once: int = 1
) -> Generator[None, None, Result]:
    """Generate an answer, giving None where that takes a step.

    Args:
        model: What answers.
        job: Asks.
        generation: Of the answer.
        telemetry: Who is told.
        at_once: How many choices may be made side by side.

    Raises:
        DeadlineExceeded: There was no token before the deadline.
    """
    waited_ms = job.waited_ms(time.time())
    deltas: list[Delta] = []
    choices = generate(model, generation, model.new_cancellation(), lambda: at_once)
    try:
        with telemetry.segment("answer"), closing(choices) as items:
            for delta in items:
                if delta is None:
                    yield
                else:
                    deltas.append(delta)
    finally:
        generation.meter.end()
    result = result_of(generation, joined(deltas))
    telemetry.answered(job, result, waited_ms)
    return result


def finish(work: Generator[None, None, T], step: Callable[[], None]) -> T:
    """Bring one piece of work to its end by itself, with a step wherever it waits; returns what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            value: T = end.value
            return value
        step()
