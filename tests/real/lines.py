"""Lines of many scripts, of emoji, code, numbers and blanks, the same in every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

# First and last letter of what a script is written in.
SCRIPTS = {
    "latin": (0x61, 0x7A),
    "accents": (0xC0, 0x17F),
    "greek": (0x391, 0x3C9),
    "cyrillic": (0x410, 0x44F),
    "armenian": (0x561, 0x586),
    "hebrew": (0x5D0, 0x5EA),
    "arabic": (0x620, 0x64A),
    "devanagari": (0x905, 0x94D),
    "bengali": (0x985, 0x9CD),
    "tamil": (0xB85, 0xBCD),
    "thai": (0xE01, 0xE4E),
    "georgian": (0x10D0, 0x10F0),
    "hangul": (0xAC00, 0xD7A3),
    "hiragana": (0x3041, 0x3096),
    "katakana": (0x30A1, 0x30FA),
    "chinese": (0x4E00, 0x9FA5),
    "marks": (0x300, 0x36F),
    "symbols": (0x2190, 0x22FF),
    "emoji": (0x1F300, 0x1F64F),
    "old": (0x12000, 0x120FF),
}
GAPS = (" ", " ", " ", "  ", "\t", "\u00a0", "\u3000", "", ", ", "-", "'", "’s ", "\u200d", "\ufe0f", ". ", "\r")
CODE = (
    "def {0}(self, {1}: int = {2}) -> None:",
    "    return [{0}[{1}] for {1} in range({2})]  # {0}",
    "\tif (!{0} && {1} >= {2}) {{ {0}->{1}++; }}",
    '{{"{0}": [{2}, null, true], "{1}": "\\n"}}',
    "SELECT {0}, COUNT(*) FROM {1} WHERE id <> {2};",
    "<a href='/{0}?x={2}#{1}'>&nbsp;{0}</a>",
    "https://{0}.example/{1}/{2}?q=%20&{0}",
    "It's {0}'s; WE'LL {1}, they'd've {2}",
    "{2},{2}.{2}e-{2} ${2} {2}% ½²³ Ⅷ",
    "<|{0}|>{1}<|end|> [INST] {2} </s>",
)


def lines(count: int, seed: int = 0) -> list[str]:
    """Make lines up; none ends with a line end."""
    rng = random.Random(seed)
    kinds: Sequence[Callable[[random.Random], str]] = (_words, _words, _mixed, _code, _blank)
    return [rng.choice(kinds)(rng) for _ in range(count)]


def _word(rng: random.Random, script: str) -> str:
    first, last = SCRIPTS[script]
    word = "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 9)))
    return rng.choice((word, word, word.upper(), word.capitalize()))


def _words(rng: random.Random) -> str:
    script = rng.choice(list(SCRIPTS))
    return "".join(_word(rng, script) + rng.choice(GAPS) for _ in range(rng.randint(1, 12)))


def _mixed(rng: random.Random) -> str:
    return "".join(_word(rng, rng.choice(list(SCRIPTS))) + rng.choice(GAPS) for _ in range(rng.randint(1, 8)))


def _code(rng: random.Random) -> str:
    return rng.choice(CODE).format(_word(rng, "latin"), _word(rng, "latin"), rng.randint(0, 10 ** rng.randint(0, 9)))


def _blank(rng: random.Random) -> str:
    return "".join(rng.choice(" \t\n\r\u00a0\u2003") * rng.randint(0, 5) for _ in range(rng.randint(1, 4)))
