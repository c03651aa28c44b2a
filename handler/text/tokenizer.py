"""Text ↔ token ids, by kitoken; `tokenizers` is the reference that the tests compare with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kitoken import Kitoken

from handler.errors import InvalidText, RunTooLong, TokenizerError

# kitoken 0.11 aborts the process when a regular expression backtracks a million steps, as on a million blanks.
LONGEST_RUN = 500_000
# Looking behind makes the search linear: it tries only where a run begins.
_TOO_LONG = re.compile(rf"(?<!\s)\s{{{LONGEST_RUN}}}|(?<!\S)\S{{{LONGEST_RUN}}}")


class Tokenizer:
    """The model's tokenizer.

    Args:
        kitoken: The loaded tokenizer.
        prefix_ids: What the checkpoint's post-processor puts before a text, mostly a BOS.
        suffix_ids: What it puts behind.
    """

    def __init__(self, kitoken: Kitoken, prefix_ids: Sequence[int] = (), suffix_ids: Sequence[int] = ()) -> None:
        self._kitoken = kitoken
        self._prefix_ids = list(prefix_ids)
        self._suffix_ids = list(suffix_ids)
        self._bytes: dict[int, bytes] = {}
        self._anchor: tuple[int, bytes] | None = None

    @classmethod
    def load(cls, path: Path, prefix_ids: Sequence[int] = (), suffix_ids: Sequence[int] = ()) -> Tokenizer:
        """Load kitoken's binary form.

        Raises:
            TokenizerError: The file is no such form.
        """
        try:
            return cls(Kitoken.from_file(str(path)), prefix_ids, suffix_ids)
        except (OSError, ValueError) as error:
            raise TokenizerError(f"{path}: not a kitoken tokenizer: {error}; export the model again") from error

    def encode(self, text: str, *, special: bool = True, param: str = "prompt") -> list[int]:
        """Encode a text, adding nothing.

        Args:
            text: Any text.
            special: Whether the text of a special token becomes that token, as in Hugging Face's tokenizers.
            param: The request's member that an error names.

        Raises:
            InvalidText: The text holds a lone surrogate.
            RunTooLong: The text has a word, or a gap between words, that the tokenizer can't take.
        """
        if len(text) > LONGEST_RUN and _TOO_LONG.search(text):
            raise RunTooLong(param, LONGEST_RUN)
        try:
            return self._kitoken.encode(text, special)
        except UnicodeEncodeError as error:
            raise InvalidText(param) from error

    def encode_prompt(self, text: str, param: str = "prompt") -> list[int]:
        """Encode a raw prompt as the checkpoint's post-processor wants it; a BOS in the text isn't doubled.

        Args:
            text: Any text.
            param: The request's member that an error names.

        Raises:
            InvalidText: The text holds a lone surrogate.
            RunTooLong: The text has a word, or a gap between words, that the tokenizer can't take.
        """
        ids = self.encode(text, special=True, param=param)
        begun = ids[: len(self._prefix_ids)] == self._prefix_ids
        return ([] if begun else self._prefix_ids) + ids + self._suffix_ids

    def decode_bytes(self, ids: Sequence[int], *, special: bool = False) -> bytes:
        """Decode ids to the bytes of their text; ids that no token has give nothing.

        Args:
            ids: Of tokens.
            special: Whether special tokens give their names, not nothing.
        """
        return self._decode(list(ids), special=special)

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes that one token stands for inside a text; a special token gives its name."""
        known = self._bytes.get(id)
        if known is None:
            known = self._bytes[id] = self._inner_bytes(id)
        return known

    def special_id(self, text: str) -> int | None:
        """Return the token that a text names and that leaves none when it is decoded; None for a text without one."""
        ids = self.encode(text) if text else []
        return ids[0] if len(ids) == 1 and self.is_special(ids[0]) else None

    def is_special(self, id: int) -> bool:
        """Whether a token leaves nothing behind when it is decoded with others."""
        if not self.token_bytes(id):
            return False
        anchor, _ = self._anchored()
        return self._decode([anchor, id], special=False) == self._decode([anchor], special=False)

    def _decode(self, ids: list[int], *, special: bool) -> bytes:
        try:
            return self._kitoken.decode(ids, special)
        except ValueError:  # A model's vocabulary is often padded beyond its tokenizer's.
            return self._kitoken.decode([id for id in ids if self._known(id)], special)

    def _known(self, id: int) -> bool:
        try:
            self._kitoken.decode([id], True)
        except ValueError:
            return False
        return True

    def _inner_bytes(self, id: int) -> bytes:
        # Some decoders strip the blank that begins a text; behind another token it stays.
        anchor, anchor_bytes = self._anchored()
        return self._decode([anchor, id], special=True)[len(anchor_bytes) :]

    def _anchored(self) -> tuple[int, bytes]:
        if self._anchor is None:
            self._anchor = self._find_anchor()
        return self._anchor

    def _find_anchor(self) -> tuple[int, bytes]:
        for id in self._kitoken.encode("a.0", False):
            text = self._decode([id], special=True)
            if text.strip():
                return id, text
        return -1, b""
