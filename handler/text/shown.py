"""Special tokens that are seen, where others leave no text: a family's markers are some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from handler.text.deltas import Vocabulary


class Shown:
    """A tokenizer that decodes some special tokens to their texts.

    Args:
        vocabulary: Decodes all others.
        texts: By the tokens' ids.
    """

    def __init__(self, vocabulary: Vocabulary, texts: Mapping[int, bytes]) -> None:
        self._vocabulary = vocabulary
        self._texts = texts

    def decode_bytes(self, ids: Sequence[int], **options: Any) -> bytes:
        """Decode ids as the tokenizer does, but for the tokens that are seen."""
        pieces = []
        for seen, group in groupby(ids, self._texts.__contains__):
            part = list(group)
            pieces += [self._texts[id] for id in part] if seen else [self._vocabulary.decode_bytes(part, **options)]
        return b"".join(pieces)

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes that one token stands for."""
        return self._vocabulary.token_bytes(id)
