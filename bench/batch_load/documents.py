"""Documents of mixed length, some that nobody can answer: the same ones for the same seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from demo.extraction import email, log_line, order

INSTRUCTION = "Extract name, city and order as JSON."
LOG_INSTRUCTION = "Extract service, status and duration as JSON."
LONG_CHARACTERS = 15_000  # about five times the demo model's context of 1,024 tokens
REQUEST = {"temperature": 0, "max_tokens": 48}
TEXT, MARKDOWN, JSON, LINES = "text/plain", "text/markdown", "application/json", "application/x-ndjson"


@dataclass(frozen=True)
class Document:
    """An object for the bucket.

    Attributes:
        key: its name.
        body: its bytes.
        content_type: its kind.
        metadata: instruction and request.
        refused: the code with which it is given up; None if it must be answered.
    """

    key: str
    body: bytes
    content_type: str = TEXT
    metadata: dict[str, str] = field(default_factory=dict)
    refused: str | None = None


def make_documents(count: int, seed: int = 0, poison: float = 0.02) -> list[Document]:
    """Make documents: seven of ten are short, one in a hundred is long, `poison` of them can't be answered."""
    rng = Random(seed)
    kinds = (_short, _several, _json, _lines, _long)
    found = []
    for number in range(count):
        name = f"documents/{number % 7}/{number:05}"
        if rng.random() < poison:
            found.append(_POISON[number % len(_POISON)](name, rng))
        else:
            found.append(rng.choices(kinds, (70, 14, 7, 8, 1))[0](name, rng))
    return found


def _metadata(instruction: str = INSTRUCTION, **request: object) -> dict[str, str]:
    return {"instruction": instruction, "request": json.dumps({**REQUEST, **request})}


def _letters(rng: Random) -> Iterator[str]:
    while True:
        yield rng.choice((email, order))(rng, False)[0]


def _short(name: str, rng: Random) -> Document:
    return Document(f"{name}.txt", next(_letters(rng)).encode(), TEXT, _metadata())


def _several(name: str, rng: Random) -> Document:
    letters = _letters(rng)
    text = "\n\n".join(f"## {number + 1}\n\n{next(letters)}" for number in range(rng.randint(2, 6)))
    return Document(f"{name}.md", text.encode(), MARKDOWN, _metadata())


def _json(name: str, rng: Random) -> Document:
    record = {"received": rng.randint(1, 9999), "text": next(_letters(rng))}
    return Document(f"{name}.json", json.dumps(record).encode(), JSON, _metadata())


def _lines(name: str, rng: Random) -> Document:
    lines = [json.dumps({"line": log_line(rng, False)[0]}) for _ in range(rng.randint(2, 5))]
    return Document(f"{name}.jsonl", "\n".join(lines).encode(), LINES, _metadata(LOG_INSTRUCTION))


def _long(name: str, rng: Random) -> Document:
    letters, text = _letters(rng), ""
    while len(text) < LONG_CHARACTERS:
        text += next(letters) + "\n\n"
    return Document(f"{name}.txt", text.encode(), TEXT, _metadata(combine=rng.choice(("list", "model"))))


def _pdf(name: str, rng: Random) -> Document:
    return Document(f"{name}.pdf", b"%PDF-1.7\n", "application/pdf", _metadata(), "document_unsupported")


def _not_utf8(name: str, rng: Random) -> Document:
    return Document(f"{name}.txt", b"caf\xe9", TEXT, _metadata(), "document_unreadable")


def _empty(name: str, rng: Random) -> Document:
    return Document(f"{name}.txt", b" \n", TEXT, _metadata(), "document_empty")


def _without_instruction(name: str, rng: Random) -> Document:
    return Document(f"{name}.txt", next(_letters(rng)).encode(), TEXT, {}, "instruction_missing")


def _wrong_request(name: str, rng: Random) -> Document:
    return Document(f"{name}.txt", next(_letters(rng)).encode(), TEXT, _metadata(temperature=9), "invalid_value")


_POISON: tuple[Callable[[str, Random], Document], ...] = (_pdf, _not_utf8, _empty, _without_instruction, _wrong_request)
