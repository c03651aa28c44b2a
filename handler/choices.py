"""The choices of one answer: what the engine makes of a task → deltas, beside those of its other tasks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

from handler.api.prompt import TextTask
from handler.deadline import Expiry
from handler.engine.cancellation import Cancellable
from handler.errors import DeadlineExceeded, TimeUp
from handler.model import Model
from handler.text.deltas import Delta, ScoredToken, Token, prompt_scores, text_deltas
from handler.text.meter import Meter
from handler.text.reading import read
from handler.text.shown import Shown
from handler.turns import Work


class Choices:
    """Makes the choices of one answer.

    Args:
        model: What answers.
        meter: Counts the tokens of all.
        cancellation: Ends all of them.
        expiry: Ends them when the deadline comes; None for never.
    """

    def __init__(self, model: Model, meter: Meter, cancellation: Cancellable, expiry: Expiry | None) -> None:
        self._model = model
        self._meter = meter
        self._cancellation = cancellation
        self._expiry = expiry
        self._scores: dict[int, tuple[ScoredToken, ...]] = {}  # of prompts

    def work(self, task: TextTask) -> Work[Delta]:
        """Return what makes a choice's deltas; they don't know its index."""
        return lambda: self._deltas(task)

    def _deltas(self, task: TextTask) -> Generator[Delta | None, None, None]:
        if task.echo is not None:
            yield from self._echoed(task)
        if task.max_tokens == 0:
            yield Delta("", finish_reason="length")
            return
        model, ending = self._model, task.ending
        constraint = task.constraint() if task.constraint is not None else None
        # Who has a prompt scored counts on the one token behind it, even if that is the end.
        scored = task.echo is not None and task.sampling.top_logprobs is not None and task.max_tokens == 1
        endless = (ending.ignore_eos or scored) and constraint is None  # a grammar's end is one in any case
        stop_ids = frozenset() if endless else model.stop_ids
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
