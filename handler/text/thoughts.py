"""Text → thoughts and what comes after them, as it grows."""

from __future__ import annotations

from collections.abc import Callable

from handler.text.deltas import Delta
from handler.text.detokenizer import overlap
from handler.text.families import ReasoningFormat
from handler.text.reading import Reader


class Words:
    """Takes all of it for words."""

    thinking = False
    cut = False

    def push(self, text: str) -> Delta:
        """Return it as it is."""
        return Delta(text)

    def end(self) -> Delta:
        """Nothing was held back."""
        return Delta("")


class ThoughtReader:
    """Splits thoughts off at an answer's beginning; blanks around them say nothing.

    Args:
        form: How the model writes them.
        opened: Whether the prompt has begun them.
        rest: Reads what follows.
    """

    def __init__(self, form: ReasoningFormat, opened: bool, rest: Reader) -> None:
        self._form, self._rest = form, rest
        self._text = ""  # not told yet
        self._thought = False
        self._state: Callable[[str, bool], Delta] = self._inside if opened else self._before

    @property
    def thinking(self) -> bool:
        """Whether the text is within thoughts."""
        return self._state == self._inside

    @property
    def cut(self) -> bool:
        """Whether the answer has ended within a call."""
        return self._rest.cut

    def push(self, text: str) -> Delta:
        """Take more text; return what is certain now."""
        self._text += text
        return self._run(last=False)

    def end(self) -> Delta:
        """The text has ended: return what was held back."""
        return _together(self._run(last=True), self._rest.end())

    def _run(self, last: bool) -> Delta:
        text, self._text = self._text, ""
        return self._state(text, last)

    def _before(self, text: str, last: bool) -> Delta:
        """Thoughts may begin."""
        begun, begin = text.lstrip(), self._form.begin
        if begun.startswith(begin):
            self._state = self._inside
            return self._inside(begun[len(begin) :], last)
        if begin.startswith(begun) and not last:
            self._text = text
            return Delta("")
        self._state = self._words
        return self._words(text, last)

    def _inside(self, text: str, last: bool) -> Delta:
        """Within thoughts: what may end them, and blanks, which may be their last ones, are held back."""
        at = text.find(self._form.end)
        if at >= 0:
            self._state = self._behind
            behind = self._behind(text[at + len(self._form.end) :], last)
            return _together(self._thoughts(text[:at].rstrip()), behind)
        held = 0 if last else overlap(text, self._form.end)
        told = text[: len(text) - held].rstrip()
        self._text = "" if last else text[len(told) :]
        return self._thoughts(told)

    def _thoughts(self, text: str) -> Delta:
        text = text if self._thought else text.lstrip()
        self._thought = self._thought or bool(text)
        return Delta("", reasoning=text)

    def _behind(self, text: str, last: bool) -> Delta:
        """Thoughts have ended: the blanks behind them are left out."""
        text = text.lstrip()
        if not text:
            return Delta("")
        self._state = self._words
        return self._words(text, last)

    def _words(self, text: str, last: bool) -> Delta:
        return self._rest.push(text) if text else Delta("")


def _together(first: Delta, second: Delta) -> Delta:
    return Delta(
        first.text + second.text, reasoning=first.reasoning + second.reasoning, calls=first.calls + second.calls
    )
