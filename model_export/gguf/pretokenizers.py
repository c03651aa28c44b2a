"""How text is cut into words before its bytes are merged, by llama.cpp's names for it.

tokenizer.json has expressions where llama.cpp has names (`llm_tokenizer_bpe` in its src/llama-vocab.cpp). Those are
listed that llama.cpp takes for one of the expressions here, which are the published tokenizers' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PreTokenizer:
    """A way to cut text.

    Attributes:
        expressions: applied one after the other, each to what the one before it left; empty for GPT-2's own.
        ignore_merges: whether a word that is in the vocabulary is taken whole.
        adds_bos: whether a text begins with bos where the file doesn't say.
        normalizer: what comes before; None for nothing.
        digits: whether each digit is cut off first.
    """

    expressions: tuple[str, ...] = ()
    ignore_merges: bool = False
    adds_bos: bool = False
    normalizer: str | None = None
    digits: bool = False

    def description(self) -> dict[str, Any]:
        """What tokenizer.json says of it."""
        parts: list[dict[str, Any]] = [{"type": "Digits", "individual_digits": True}] if self.digits else []
        for expression in self.expressions:
            parts.append({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False})
        bytes_ = {"add_prefix_space": False, "trim_offsets": True, "use_regex": not self.expressions}
        return {"type": "Sequence", "pretokenizers": [*parts, {"type": "ByteLevel", **bytes_}]}


_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_THREE_DIGITS = (_WORDS + r"\p{N}{1,3}" + _REST,)
_ONE_DIGIT = (_WORDS + r"\p{N}" + _REST,)
_BY_CASE = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)

_GPT2 = PreTokenizer()
_DIGITS = PreTokenizer(digits=True)
_LLAMA3 = PreTokenizer(_THREE_DIGITS, ignore_merges=True, adds_bos=True)
_QWEN2 = PreTokenizer(_ONE_DIGIT)

PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    **dict.fromkeys(("gpt-2", "phi-2", "olmo", "mellum", "gigachat", "exaone4", "a.x-4.0", "trillion"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell", "minerva-7b", "exaone"), _DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "midm-2.0"), _LLAMA3),
    **dict.fromkeys(("dbrx", "smaug-bpe"), PreTokenizer(_THREE_DIGITS)),
    "qwen2": PreTokenizer(_ONE_DIGIT, normalizer="NFC"),
    **dict.fromkeys(("deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "kormo"), _QWEN2),
    "tekken": PreTokenizer(_BY_CASE, ignore_merges=True, adds_bos=True),
}
