"""The model's tokenizer as llguidance takes it: what each token stands for, and how a text that must come is spelled.

It is the handler's own, so that what is forced is spelled as prompts are, and no text becomes a special token.
"""

from __future__ import annotations

from collections.abc import Sequence

from handler.text.tokenizer import Tokenizer


class Spelling:
    """What `llguidance.LLTokenizer` wants of a tokenizer.

    Args:
        tokenizer: The model's.
        size: Of the model's vocabulary; ids beyond the tokenizer's stand for nothing and so never come.
        stop_ids: Tokens that end an answer; whatever the tokenizer says, they aren't text.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, size: int, stop_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self.tokens = [tokenizer.token_bytes(id) for id in range(size)]
        self.special_token_ids = [id for id in range(size) if tokenizer.is_special(id) or id in stop_ids]
        self.eos_token_id = stop_ids[0] if stop_ids else None
        # Some tokenizers put a blank before a text: there, it is spelled behind a line's end.
        blank = not self._is("a", tokenizer.encode("a", special=False))
        self._lead = "\n" if blank else ""
        self._lead_ids = tokenizer.encode(self._lead, special=False)
        self._ids: dict[bytes, int] | None = None

    def __call__(self, text: str) -> list[int]:
        """Spell a text."""
        ids = self._tokenizer.encode(self._lead + text, special=False)
        known = len(self._lead_ids)
        if ids[:known] == self._lead_ids and self._is(text, ids[known:]):
            return ids[known:]
        return self._greedy(text.encode())

    def _is(self, text: str, ids: Sequence[int]) -> bool:
        return b"".join(self.tokens[id] for id in ids) == text.encode()

    def _greedy(self, text: bytes) -> list[int]:
        """Spell a text that the tokenizer changes (by Unicode's normal forms, say), by the longest token that fits."""
        if self._ids is None:
            special = set(self.special_token_ids)
            self._ids = {name: id for id, name in enumerate(self.tokens) if name and id not in special}
            self._longest = max(map(len, self._ids))
        ids, at = [], 0
        while at < len(text):
            length = next((n for n in range(self._longest, 0, -1) if text[at : at + n] in self._ids), None)
            if length is None:
                raise ValueError(f"no token for {text[at : at + 1]!r}")
            length = min(length, len(text) - at)
            ids.append(self._ids[text[at : at + length]])
            at += length
        return ids
