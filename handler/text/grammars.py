"""Grammars → constraints, by llguidance; nothing of it is imported or made before the first request that needs it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from handler.engine.constraint import Constraint
from handler.errors import GrammarRefused
from handler.text.grammar import Grammar
from handler.text.matching import Matching, first_line
from handler.text.sources import source_of
from handler.text.spelling import Spelling
from handler.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher

KEPT = 32  # compiled grammars


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
        self._tools: _Tools | None = None
        self._kept: OrderedDict[tuple[str, str], LLMatcher] = OrderedDict()

    def is_special(self, id: int) -> bool:
        """Whether a grammar means a token by its name or id only, never by its text."""
        return id in self._stop_ids or self._tokenizer.is_special(id)

    def compile(self, grammar: Grammar) -> Callable[[], Constraint]:
        """Return what makes the state of a grammar, at its beginning, for each answer.

        Raises:
            GrammarRefused: It is malformed, says something that can't be enforced, or is too large.
        """
        key = (grammar.kind, grammar.source)
        with self._lock:
            if self._tools is None:
                self._tools = _Tools(self._tokenizer, self._vocab_size, self._stop_ids)
            tools = self._tools
            start = self._kept.get(key) or tools.compile(grammar)
            self._kept[key] = start
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)

        def forget() -> None:
            # Copies share what llguidance has computed: the next request begins anew.
            with self._lock:
                self._kept.pop(key, None)

        return lambda: Matching(start.deep_copy(), tools.tokens, grammar.param, tools.beside, forget)


class _Tools:
    """llguidance, its tokenizer, and a thread for masks: what the first request waits for."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, stop_ids: Sequence[int]) -> None:
        import llguidance  # 0.1 s: most servers never need it

        spelling: Any = Spelling(tokenizer, vocab_size, stop_ids)
        self._llguidance = llguidance
        self._tokenizer = llguidance.LLTokenizer(spelling, eos_token=list(stop_ids) or None)
        self.tokens = self._tokenizer.vocab_size
        # A state takes 2 kB; a row has an item for each property that may come next.
        self._limits = llguidance.LLParserLimits(max_lexer_states=50_000, max_items_in_row=10_000, verbose_errors=False)
        self.beside = ThreadPoolExecutor(1, "masks")

    def compile(self, grammar: Grammar) -> LLMatcher:
        matcher = self._matcher(source_of(grammar, lambda source: _error(self._matcher(source))))
        if error := _error(matcher):
            raise GrammarRefused(grammar.param, error)
        return matcher

    def _matcher(self, source: str) -> LLMatcher:
        matcher = self._llguidance.LLMatcher(self._tokenizer, source, log_level=0, limits=self._limits)
        if not matcher.is_stopped():
            matcher.compute_bitmask()  # a grammar that nothing follows is found here
        return matcher


def _error(matcher: LLMatcher) -> str:
    return first_line(matcher.get_error())
