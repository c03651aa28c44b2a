"""A long text → pieces that fit, cut where it hurts least; nothing is lost and nothing comes twice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

FULL = 0.96  # of what fits: to look for more isn't worth the encoding
CHARACTERS_A_TOKEN = 4.0  # a first guess
_BLANK = re.compile(r"\s+")
_LINE = re.compile(r"\n")
_SENTENCE = re.compile(r"[.!?…][)\]\"'”’»]*\s+|[。！？]")
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n\s*")
# Before a heading, which would be lost at a part's end. Looking behind makes it linear in a million of empty lines.
_SECTION = re.compile(r"(?:(?<=\n\n)|(?<=\n\r\n))(?=#{1,6} )")
PROSE = (_PARAGRAPH, _SENTENCE, _LINE, _BLANK)
MARKDOWN = (_SECTION, *PROSE)
DATA = (_LINE, re.compile(r",\s*"), _BLANK)  # JSON: neither in a string, if it can be helped


@dataclass(frozen=True)
class Piece:
    """A part of a text.

    Attributes:
        begin: Where it begins, in characters.
        end: Where it ends.
        tokens: What `count` said of it.
    """

    begin: int
    end: int
    tokens: int


class Unsplittable(Exception):
    """Not even one character fits."""


def split(
    text: str,
    begin: int,
    end: int,
    count: Callable[[str], int],
    limit: int,
    boundaries: Sequence[re.Pattern[str]] = PROSE,
) -> Iterator[Piece]:
    """Cut a stretch of a text into pieces that lie end to end.

    A piece is as long as it can be, then ends at the last best boundary of its second half: so there are at most twice
    as many pieces as there must be.

    Args:
        text: The text.
        begin: Where the stretch begins.
        end: Where it ends.
        count: Tokens of a piece, with all that comes around it.
        limit: How many there may be.
        boundaries: What to cut behind, the best first; without any, it is cut anywhere.

    Raises:
        Unsplittable: One character is too much.
    """
    length = max(1, int(limit * CHARACTERS_A_TOKEN))
    while begin < end:
        furthest = _furthest(text, begin, end, count, limit, length)
        piece = furthest if furthest.end == end else _cut(text, furthest, count, limit, boundaries)
        yield piece
        length = max(1, furthest.end - begin)
        begin = piece.end


def _furthest(text: str, begin: int, end: int, count: Callable[[str], int], limit: int, length: int) -> Piece:
    """The longest piece that fits, or nearly; `length` is a guess."""
    fits, too_long = Piece(begin, begin, 0), end + 1
    at = min(end, begin + length)
    while True:
        tokens = count(text[begin:at])
        if tokens <= limit:
            fits = Piece(begin, at, tokens)
            if at == end or tokens >= FULL * limit:
                return fits
        else:
            too_long = at
        if too_long - fits.end <= max(1, (fits.end - begin) // 50):
            if fits.end == begin:
                raise Unsplittable
            return fits
        # While nothing was too long, the rate says how far to go; then the middle is safe against any tokenizer.
        rate = (at - begin) / max(1, tokens)
        at = begin + int(rate * limit) if too_long > end else (fits.end + too_long) // 2
        at = min(max(at, fits.end + 1), too_long - 1)


def _cut(
    text: str, furthest: Piece, count: Callable[[str], int], limit: int, boundaries: Sequence[re.Pattern[str]]
) -> Piece:
    begin, end = furthest.begin, furthest.end
    while end > begin:
        at = _boundary(text, begin, end, boundaries)
        tokens = furthest.tokens if at == furthest.end else count(text[begin:at])
        if tokens <= limit:
            return Piece(begin, at, tokens)
        end = at - 1  # Fewer characters were more tokens.
    raise Unsplittable


def _boundary(text: str, begin: int, end: int, boundaries: Sequence[re.Pattern[str]]) -> int:
    middle = begin + (end - begin + 1) // 2
    for boundary in boundaries:
        ends = [match.end() for match in boundary.finditer(text, middle, end)]
        if ends:
            return ends[-1]
    # A line's end is one character to whoever reads it.
    return end - 1 if end - begin > 1 and text[end - 1 : end + 1] == "\r\n" else end
