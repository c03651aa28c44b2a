"""How a document is answered: which parts, with how many tokens each. The same document always has the same plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from handler.api.events import json_bytes
from handler.errors import InvalidValue, NoRoomForDocument, TooManyParts
from handler.model import Model
from handler.worker.documents.asking import Asking
from handler.worker.documents.notifications import Source
from handler.worker.documents.reading import Document, Record
from handler.worker.documents.splitting import DATA, MARKDOWN, PROSE, Piece, Unsplittable, split

BOUNDARIES = {"text": PROSE, "markdown": MARKDOWN, "json": DATA, "json_lines": DATA}
MOST_PARTS = 10_000
SLACK = 16  # tokens that answers may take more in a prompt than when they were made


@dataclass(frozen=True)
class Part:
    """A stretch of the text that is answered at once.

    Attributes:
        begin: Where it begins, in characters.
        end: Where it ends.
        prompt_tokens: Of its whole prompt: template, instruction and text.
        max_tokens: Of its answer; both together fit the context.
    """

    begin: int
    end: int
    prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True)
class Plan:
    """All parts.

    Attributes:
        source: The document's version.
        asking: What is asked.
        document: Its text.
        model_id: What answers.
        fingerprint: The same, by its weights.
        context_length: Of the model.
        combined_tokens: What an answer may have that is put together out of others.
        parts: Of each of the document's records, in order.
    """

    source: Source
    asking: Asking
    document: Document
    model_id: str
    fingerprint: str | None
    context_length: int
    combined_tokens: int
    parts: tuple[tuple[Part, ...], ...]

    @property
    def count(self) -> int:
        """How many parts there are."""
        return sum(len(parts) for parts in self.parts)

    @property
    def single(self) -> bool:
        """Whether one answer is all."""
        return self.count == 1 and self.document.records[0].line is None

    @cached_property
    def id(self) -> str:
        """Names it by all that is in it: other parts, another model or another instruction are another plan."""
        return sha256(json_bytes(self._content())).hexdigest()[:32]

    def members(self) -> dict[str, Any]:
        """Write it down."""
        return {"id": self.id, **self._content()}

    def _content(self) -> dict[str, Any]:
        return {
            "source": self.source.members(),
            "instruction": self.asking.instruction,
            "request": dict(self.asking.members),
            "combine": self.asking.combine,
            "combine_instruction": self.asking.combine_instruction if self.asking.combine == "model" else None,
            "model": self.model_id,
            "system_fingerprint": self.fingerprint,
            "context_length": self.context_length,
            "combined_tokens": self.combined_tokens,
            "kind": self.document.kind,
            "characters": len(self.document.text),
            "records": [
                {**({} if record.line is None else {"line": record.line}), "parts": [vars(part) for part in parts]}
                for record, parts in zip(self.document.records, self.parts, strict=True)
            ],
        }


def make_plan(source: Source, document: Document, asking: Asking, model: Model) -> Plan:
    """Plan a document's parts.

    Raises:
        NoRoomForDocument: Instruction and answer fill the context.
        TooManyParts: There would be more than are kept.
        ApiError: The template or the tokenizer refuses the document, or there is no template.
    """
    planner = _Planner(document, asking, model)
    parts: list[tuple[Part, ...]] = []
    left = MOST_PARTS
    for record in document.records:
        parts.append(planner.parts_of(record, left))
        left -= len(parts[-1])
    return Plan(
        source=source,
        asking=asking,
        document=document,
        model_id=model.served.model_id,
        fingerprint=model.fingerprint,
        context_length=model.context_length,
        combined_tokens=planner.shared,
        parts=tuple(parts),
    )


class _Planner:
    """Cuts records.

    Attributes:
        shared: Tokens of an answer that is one of several: two of them, and what is made of them, fit the context.
    """

    def __init__(self, document: Document, asking: Asking, model: Model) -> None:
        self._document = document
        self._asking = asking
        self._model = model
        self._boundaries = BOUNDARIES[document.kind]
        given = asking.request.options.max_tokens
        self._wanted = max(1, model.context_length // 4) if given is None else given
        self.shared = self._wanted if asking.combine == "list" else min(self._wanted, self._third())
        least = asking.request.options.ending.min_tokens
        if least > self.shared:
            raise InvalidValue("min_tokens", f"no more than the {self.shared} tokens that a part's answer has", least)

    def _third(self) -> int:
        bare = len(self._asking.combining(["", ""], 1).prompt_ids(self._model.prompts)) + 2 * SLACK
        third = (self._model.context_length - bare) // 3
        if third < 1:
            raise NoRoomForDocument(bare, self._wanted, self._model.context_length)
        return third

    def parts_of(self, record: Record, most: int) -> tuple[Part, ...]:
        """One part if all fits beside the longest answer; else several, whose answers leave room for one another."""
        if most < 1:
            raise TooManyParts(MOST_PARTS)
        first = next(self._pieces(record, self._wanted))
        if first.end == record.end:
            return (Part(first.begin, first.end, first.tokens, self._wanted),)
        parts: list[Part] = []
        for piece in self._pieces(record, self.shared):
            if len(parts) == most:
                raise TooManyParts(MOST_PARTS)
            parts.append(Part(piece.begin, piece.end, piece.tokens, self.shared))
        return tuple(parts)

    def _pieces(self, record: Record, max_tokens: int) -> Iterator[Piece]:
        limit = self._model.context_length - max_tokens
        try:
            yield from split(self._document.text, record.begin, record.end, self._count, limit, self._boundaries)
        except Unsplittable:
            raise NoRoomForDocument(self._count(""), max_tokens, self._model.context_length) from None

    def _count(self, text: str) -> int:
        return len(self._asking.about(text, 1).prompt_ids(self._model.prompts))


def pack(answers: Sequence[str], plan: Plan, model: Model) -> list[range]:
    """Put neighbouring answers into groups that fit a prompt each.

    Args:
        answers: Two or more.
        plan: That they belong to.
        model: What will put them together.

    Returns:
        The answers' numbers in each group; there are fewer groups than answers.

    Raises:
        NoRoomForDocument: Not even two of them fit, so they can't become one.
    """

    def tokens(group: range) -> int:
        return len(plan.asking.combining([answers[index] for index in group], 1).prompt_ids(model.prompts))

    limit = model.context_length - plan.combined_tokens
    groups = [range(1)]
    for index in range(1, len(answers)):
        grown = range(groups[-1].start, index + 1)
        if tokens(grown) > limit:
            groups.append(range(index, index + 1))
        else:
            groups[-1] = grown
    if len(groups) == len(answers):
        raise NoRoomForDocument(tokens(range(2)), plan.combined_tokens, model.context_length)
    return groups


def summary(plan: Plan, levels: int) -> Mapping[str, Any]:
    """What a result says of its plan."""
    return {
        "id": None if plan.single else plan.id,
        "kind": plan.document.kind,
        "parts": plan.count,
        "levels": levels,
        "combine": plan.asking.combine if plan.count > 1 else None,
        "longest_prompt_tokens": max(part.prompt_tokens for parts in plan.parts for part in parts),
    }
