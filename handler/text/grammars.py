"""Grammars → constraints, by llguidance; nothing of it is imported or made before the first request that needs it."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handler.engine.constraint import Constraint
from handler.errors import GrammarExhausted, GrammarRefused
from handler.text.grammar import Grammar
from handler.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

KEPT = 64  # compiled grammars
# As json.dumps and chat templates write it, so as models know it; without a choice of blanks, keys are forced.
JSON_STYLE = {
    "item_separator": ", ",
    "key_separator": ": ",
    "whitespace_flexible": False,
    "whitespace_pattern": None,
    "coerce_one_of": False,
    "lenient": False,
}


class Grammars:
    """Compiles grammars for one model; any thread may.

    Args:
        tokenizer: The model's.
        vocab_size: The model's, which may be larger than the tokenizer's.
        stop_ids: Tokens that end an answer: they may come wherever the grammar may end, and nowhere else.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, stop_ids: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._stop_ids = sorted(stop_ids)
        self._lock = threading.Lock()
        self._made: LLTokenizer | None = None
        self._kept: OrderedDict[tuple[str, str], LLMatcher] = OrderedDict()

    def is_special(self, id: int) -> bool:
        """Whether a grammar means a token by its name or id only, never by its text."""
        return id in self._stop_ids or self._tokenizer.decode_bytes([id]) == b""

    def compile(self, grammar: Grammar) -> Callable[[], Constraint]:
        """Return what makes the state of a grammar, at its beginning, for each answer.

        Raises:
            GrammarRefused: It is malformed, says something that can't be enforced, or is too large.
        """
        key = (grammar.kind, grammar.source)
        with self._lock:
            start = self._kept.get(key) or self._compile(grammar)
            self._kept[key] = start
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return lambda: Matching(start.deep_copy(), self._vocab_size, grammar.param)

    def _compile(self, grammar: Grammar) -> LLMatcher:
        from llguidance import LLMatcher

        if self._made is None:
            self._made = _make_tokenizer(self._tokenizer, self._vocab_size, self._stop_ids)
        matcher = LLMatcher(self._made, _source(grammar), log_level=0)
        if matcher.is_error():
            raise GrammarRefused(grammar.param, matcher.get_error())
        return matcher


def _source(grammar: Grammar) -> str:
    from llguidance import LLMatcher

    if grammar.kind == "json_schema":
        return LLMatcher.grammar_from_json_schema(grammar.source, overrides=JSON_STYLE)  # type: ignore[arg-type]
    if grammar.kind == "regex":
        return LLMatcher.grammar_from_regex(grammar.source)
    if grammar.kind == "gbnf":
        from llguidance.gbnf_to_lark import gbnf_to_lark

        return gbnf_to_lark(grammar.source)
    return grammar.source


class _Vocabulary:
    """The tokenizer as llguidance takes it."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, size: int, stop_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self.tokens, special = tokenizer.vocabulary(size)
        # What ends an answer isn't text, whatever the tokenizer says.
        self.special_token_ids = sorted({*special, *stop_ids})
        self.eos_token_id = stop_ids[0] if stop_ids else None

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, special=False)


def _make_tokenizer(tokenizer: Tokenizer, vocab_size: int, stop_ids: Sequence[int]) -> LLTokenizer:
    from llguidance import LLTokenizer

    wrapped: Any = _Vocabulary(tokenizer, vocab_size, stop_ids)
    return LLTokenizer(wrapped, eos_token=list(stop_ids) or None)


class Matching:
    """The state of one answer's grammar, at its beginning.

    It runs ahead: what is forced has been consumed when it is told of, so the mask behind it can be computed early.
    """

    def __init__(self, matcher: LLMatcher, vocab_size: int, param: str) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._param = param
        self._forced: deque[int] = deque()
        self._bits: NDArray[np.int32] = np.zeros((vocab_size + 32) // 32, dtype=np.int32)

    @property
    def ended(self) -> bool:
        return not self._forced and self._matcher.is_stopped()

    def forced(self) -> Sequence[int]:
        while tokens := self._matcher.compute_ff_tokens():
            self._consume(tokens)
            self._forced.extend(tokens)
        return list(self._forced)

    def allowed(self) -> NDArray[np.bool_] | None:
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            raise GrammarExhausted(self._param, self._matcher.get_error())
        return np.unpackbits(bits, count=self._vocab_size, bitorder="little").view(np.bool_)

    def prepare(self) -> None:
        pass

    def fitting(self, tokens: Sequence[int]) -> int:
        return self._matcher.validate_tokens(list(tokens))

    def advance(self, token: int) -> None:
        if self._forced:
            self._forced.popleft()
        else:
            self._consume([token])

    def _consume(self, tokens: Sequence[int]) -> None:
        if not self._matcher.consume_tokens(list(tokens)):
            raise GrammarExhausted(self._param, self._matcher.get_error())
