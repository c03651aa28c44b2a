"""The state of one answer's grammar, kept by llguidance's matcher."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handler.errors import GrammarExhausted

if TYPE_CHECKING:
    from llguidance import LLMatcher

LONGEST = 300  # characters of a message
# Every other reason is a limit, and what was written till then isn't whole.
WHOLE = ("NoExtension", "NoExtensionBias", "EndOfSentence")


class Matching:
    """A constraint for the engine.

    It runs ahead: what is forced has been consumed when it is told of, so the mask behind it can be computed early.

    Args:
        matcher: At the grammar's beginning; used by nobody else.
        tokens: In llguidance's vocabulary: the model's, or one more where none of them ends an answer.
        param: The request's member that errors name.
        beside: Computes masks while a step runs.
        broke: Called when the grammar has met a limit.
    """

    def __init__(
        self, matcher: LLMatcher, tokens: int, param: str, beside: Executor, broke: Callable[[], None]
    ) -> None:
        self._matcher = matcher
        self._param = param
        self._beside = beside
        self._broke = broke
        self._forced: deque[int] = deque()
        self._words = np.zeros((tokens + 31) // 32, dtype=np.int32)
        self._bits = self._words.view(np.uint8)
        self._address, self._bytes = self._words.ctypes.data, self._words.nbytes
        self._looked = False  # for what is forced in this state
        self._ready = False  # whether the mask is this state's
        self._job: Future[None] | None = None
        self._stopped = self._is_stopped()

    @property
    def ended(self) -> bool:
        return self._stopped and not self._forced

    def forced(self) -> Sequence[int]:
        if not self._looked:
            self._settle()
            while not self._stopped and (tokens := self._matcher.compute_ff_tokens()):
                self._consume(tokens)
                self._forced.extend(tokens)
            self._looked = True
        return list(self._forced) if self._forced else ()

    def allowed(self) -> NDArray[np.uint8]:
        self._settle()
        if not self._ready:
            self._fill()
            self._ready = True
            # llguidance's mask of a broken matcher is that of the end, which would be a lie.
            self._is_stopped()
        return self._bits

    def prepare(self) -> None:
        if not (self._ready or self._stopped or self._job):
            self._job = self._beside.submit(self._fill)

    def fitting(self, tokens: Sequence[int]) -> int:
        self._settle()
        return self._matcher.validate_tokens(list(tokens))

    def advance(self, token: int) -> None:
        if self._forced:
            self._forced.popleft()
        else:
            self._settle()
            self._consume([token])
            self._looked = False

    def _settle(self) -> None:
        """Wait for the mask that is being computed: a matcher takes one caller at a time."""
        job, self._job = self._job, None
        if job is not None and not job.cancel():  # on a busy machine it may not have begun
            job.result()
            self._ready = True
            self._is_stopped()

    def _fill(self) -> None:
        self._matcher.unsafe_compute_mask_ptr(self._address, self._bytes)

    def _consume(self, tokens: list[int]) -> None:
        self._matcher.consume_tokens(tokens)
        self._ready = False
        self._stopped = self._is_stopped()

    def _is_stopped(self) -> bool:
        if not self._matcher.is_stopped():
            return False
        reason = self._matcher.stop_reason()
        if self._matcher.is_error() or reason not in WHOLE:
            self._broke()
            raise GrammarExhausted(self._param, first_line(self._matcher.get_error()) or reason)
        return True


def first_line(message: str) -> str:
    """What llguidance says in one line, without the state and the lists that it adds."""
    text = " ".join(message.partition("\n<")[0].split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
