"""Text → calls of tools, as it grows: what isn't a call stays text, and no half of a marker gets out."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace
from uuid import uuid4

from handler.text.candidates import NAMED, Candidate, ListCandidate, NamedCandidate, ObjectCandidate
from handler.text.deltas import CallDelta, Delta
from handler.text.detokenizer import overlap
from handler.text.families import ToolFormat

_BLANK = re.compile(r"\s*")
_ARRAY = re.compile(r"\[\s*(?=\{)")
_LIST = re.compile(r"\[\s*[A-Za-z_][A-Za-z0-9_.]*\s*\(")
_LIST_BEGIN = re.compile(r"\[\s*(?:[A-Za-z_][A-Za-z0-9_.]*\s*)?")
_NAMED_BEGIN = re.compile(r"\s*[A-Za-z0-9_.-]*\s*(?:\[[^{}]*)?")
_SEPARATOR = re.compile(r"\s*[;,]?\s*")


def new_id() -> str:
    """Make a call's id, in OpenAI's form."""
    return f"call_{uuid4().hex[:24]}"


class CallReader:
    """Finds calls in one answer.

    Blanks before, between and behind calls say nothing; those within words stay.

    Args:
        form: How the model writes them.
        names: Of the tools that may be called.
        parallel: Whether there may be several; otherwise those behind the first one are left out.
        certain: Whether a grammar holds: arguments come in pieces, since they can't turn out to be none.
        halves: Whether half a call, where the answer's end has cut it off, is text. Not if it can be nothing else.
        words: Whether there may be any; if not, half a marker is no text either.
        make_id: Makes calls' ids.
    """

    def __init__(
        self,
        form: ToolFormat,
        names: Collection[str],
        *,
        parallel: bool = True,
        certain: bool = False,
        halves: bool = True,
        words: bool = True,
        make_id: Callable[[], str] = new_id,
    ) -> None:
        self._form, self._names, self._make_id = form, frozenset(names), make_id
        self._parallel, self._certain = parallel, certain
        self._halves, self._has_words = halves, words
        self.cut = False  # the answer has ended within a call that was told
        self._markers = tuple(text for text in (form.marker, form.optional) if text)
        self._bare = not form.marker  # calls may begin here without a marker
        self._text = ""  # not told yet
        self._blank = ""  # at the end of what was told: left out if a call comes next
        self._called = False  # a call came last
        self._array = False  # within a JSON array of calls
        self._count = 0
        self._said: list[str] = []
        self._calls: list[CallDelta] = []
        self._state: Callable[[bool], bool] = self._words
        self._at = 0  # behind the marker, where a call may begin
        self._candidate: Candidate | None = None
        self._sent: int | None = None  # up to where the candidate's arguments have been told

    @property
    def thinking(self) -> bool:
        """Never: thoughts are somebody else's."""
        return False

    def push(self, text: str) -> Delta:
        """Take more text; return what is certain now."""
        self._text += text
        return self._run(last=False)

    def end(self) -> Delta:
        """The text has ended: return what was held back."""
        said = self._run(last=True)
        return said if self._called else replace(said, text=said.text + self._blank)

    def _run(self, last: bool) -> Delta:
        while self._state(last):
            pass
        delta = Delta("".join(self._said), calls=tuple(self._calls))
        self._said, self._calls = [], []
        return delta

    # States: each looks at the text that isn't told yet, and returns whether one is to look again at once.

    def _words(self, last: bool) -> bool:
        """Outside of calls."""
        if self._bare:
            return self._first(last)
        found = [(at, marker) for marker in self._markers if (at := self._text.find(marker)) >= 0]
        if found:
            at, marker = min(found)
            self._say(at)
            return self._open(len(marker))
        held = 0 if last and self._has_words else max(overlap(self._text, marker) for marker in self._markers)
        self._say(len(self._text) - held)
        return False

    def _first(self, last: bool) -> bool:
        """At the beginning of an answer whose calls need no marker."""
        at = _skip(self._text, 0)
        if at == len(self._text) and not last:
            return False
        self._bare = False
        return self._open(at) if self._text[at : at + 1] in ("{", "[") else True

    def _opening(self, last: bool) -> bool:
        """Where a call may begin, behind its marker."""
        text, at = self._text, _skip(self._text, self._at)
        if text.startswith("{", at):
            return self._begin(ObjectCandidate(at, bool(self._form.marker)))
        if found := _ARRAY.match(text, at):
            self._array = True
            return self._open(found.end())
        if _LIST.match(text, at):
            return self._begin(ListCandidate(at))
        if found := NAMED.match(text, at):
            return self._begin(NamedCandidate(found))
        pattern = _LIST_BEGIN if text.startswith("[", at) else _NAMED_BEGIN
        if not pattern.fullmatch(text, at):
            return self._fail(at)
        return self._cut_off() if last else False

    def _growing(self, last: bool) -> bool:
        """In what may be a call."""
        candidate = self._candidate
        assert candidate is not None
        candidate.look(self._text)
        if self._certain and candidate.name in self._names:
            self._stream(candidate, candidate.name)
        if candidate.end is None:
            return self._cut_off() if last else False
        if self._sent is None:
            calls = candidate.read(self._text)
            if not calls or not all(name in self._names for name, _ in calls):
                return self._fail(candidate.end)
            for name, arguments in calls:
                self._tell(name)
                self._add(arguments)
        self._text, self._sent = self._text[candidate.end :], None
        self._blank, self._called = "", True
        self._state = self._behind
        return True

    def _behind(self, last: bool) -> bool:
        """Behind a call: another one, what closes it, or words."""
        text, at = self._text, _skip(self._text, 0)
        closing = "]" if self._array else self._form.closing
        if closing and text.startswith(closing, at):
            self._text = text[at + len(closing) :]
            was_array, self._array = self._array, False
            return was_array or self._leave()
        separated = _SEPARATOR.match(text)
        begin = separated.end() if separated else 0
        follows = self._array or not self._form.marker
        if follows and text[begin : begin + 1] == "{":
            return self._open(begin)
        waits = closing.startswith(text[at:]) or (follows and begin == len(text))
        return False if waits and not last else self._leave()

    # Moves from one state to another.

    def _open(self, at: int) -> bool:
        self._at, self._state = at, self._opening
        return True

    def _begin(self, candidate: Candidate) -> bool:
        self._candidate, self._state = candidate, self._growing
        return True

    def _leave(self) -> bool:
        self._array, self._state = False, self._words
        return True

    def _fail(self, end: int) -> bool:
        """It was no call: up to its end it is text."""
        self._say(end)
        return self._leave()

    def _cut_off(self) -> bool:
        """The answer has ended within a call."""
        if self._sent is None and self._halves:
            return self._fail(len(self._text))
        self.cut = self._sent is not None
        self._text, self._called = "", self._called or self.cut
        return self._leave()

    # What is told.

    def _say(self, end: int) -> None:
        """Tell the text up to `end`, but the blanks behind it."""
        text, self._text = self._text[:end], self._text[end:]
        text = text.lstrip() if self._called else self._blank + text
        words = text.rstrip()
        self._blank = text[len(words) :]
        if words:
            self._said.append(words)
            self._called = False

    def _stream(self, candidate: Candidate, name: str) -> None:
        if self._sent is None:
            self._tell(name)
            self._sent = candidate.begin
        end = candidate.told(self._text)
        self._add(self._text[self._sent : end])
        self._sent = end

    def _tell(self, name: str) -> None:
        self._count += 1
        if self._heard:
            self._calls.append(CallDelta(self._count - 1, self._make_id(), name))

    def _add(self, arguments: str) -> None:
        if self._heard and arguments:
            self._calls.append(CallDelta(self._count - 1, arguments=arguments))

    @property
    def _heard(self) -> bool:
        return self._parallel or self._count == 1


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None  # it matches nothing, too
    return found.end()
