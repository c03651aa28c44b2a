"""Ids → text as it grows: no half characters, and no part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Protocol


class BytesDecoder(Protocol):
    """What the detokenizer needs of a tokenizer."""

    def decode_bytes(self, ids: Sequence[int], *, special: bool = False) -> bytes:
        """Decode ids to the bytes of their text; special tokens give nothing, or their names."""
        ...


class Detokenizer:
    """Decodes ids one by one so that the deltas add up to the text of all of them.

    Decoders look at neighbours (some strip the blank that begins a text), so each id is decoded behind the last
    one that gave bytes. A character that is still incomplete at the very end is never emitted.
    """

    def __init__(self, tokenizer: BytesDecoder, special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._special = special  # whether special tokens are text
        self._window: list[int] = []  # ids that the next one is decoded behind
        self._window_bytes = b""
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """Take one more id; return the text that is certain now."""
        window = [*self._window, id]
        window_bytes = self._tokenizer.decode_bytes(window, special=self._special)
        delta = window_bytes[len(self._window_bytes) :]
        if delta or not self._window_bytes:
            self._move(id, window, window_bytes)
        return self._utf8.decode(delta)

    def _move(self, id: int, window: list[int], window_bytes: bytes) -> None:
        # The window begins with a token that gives bytes alone: whatever a decoder strips, it strips there.
        alone = self._tokenizer.decode_bytes([id], special=self._special)
        self._window, self._window_bytes = ([id], alone) if alone else (window, window_bytes)


def located(tokenizer: BytesDecoder, ids: Sequence[int], special: bool = False) -> tuple[str, Sequence[int]]:
    """Decode ids, and say where in the text each one's begins, in characters."""
    detokenizer, parts, offsets, length = Detokenizer(tokenizer, special), list[str](), list[int](), 0
    for id in ids:
        offsets.append(length)
        parts.append(detokenizer.push(id))
        length += len(parts[-1])
    return "".join(parts), offsets


class StopStrings:
    """Cuts a growing text at the first stop string that is complete in it.

    What may still become a stop string is held back. If one character completes several, the one that began
    first wins, so the cut doesn't depend on how the text was split into deltas.

    Args:
        stops: The strings.
        include: Whether the cut is behind the stop string, not before it.
    """

    def __init__(self, stops: Sequence[str], include: bool = False) -> None:
        self._stops = tuple(stops)
        self._include = include
        self._held = ""
        self.found: str | None = None  # the stop string that ended the text

    def push(self, delta: str) -> str:
        """Take more text; return what is certainly before any stop string. After `found`, take no more."""
        if not self._stops:
            return delta
        text = self._held + delta
        matches = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if matches:
            end, start = min(matches)
            self.found, self._held = text[start:end], ""
            return text[: end if self._include else start]
        held = max(overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """Return what was held back: the text has ended, so it can't become a stop string any more."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that begins `stop` and isn't all of it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[len(text) - length :]):
            return length
    return 0
