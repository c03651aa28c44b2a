"""The demo model answers by many grammars at a time, and what it has finished is held against their schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.validators import validator_for

from handler.artefact import TOKENIZER, load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from handler.errors import GrammarRefused
from handler.text.grammar import Grammar
from handler.text.grammars import Grammars
from handler.text.tokenizer import Tokenizer
from handler.turns import Turns
from tests.kernels.models import LIBRARY

MOST_TOKENS = 120
PROMPT = "Answer as JSON."
SLOTS = 8


@dataclass(frozen=True)
class Answer:
    """What the model wrote; whether it came to the grammar's end."""

    text: str
    finished: bool


class Model:
    """The demo model behind an engine of several slots."""

    def __init__(self, directory: Path) -> None:
        """Load an artefact."""
        artefact = load_artefact(directory, "quick")
        self._stop_ids = artefact.eos_token_ids
        self.tokenizer = Tokenizer.load(directory / TOKENIZER)
        self.grammars = Grammars(self.tokenizer, artefact.vocab_size, artefact.eos_token_ids)
        self._engine = Engine.load(artefact, 2, EngineOptions(slots=SLOTS), LIBRARY)

    def answers(self, schemas: Mapping[str, Any], temperature: float) -> dict[str, Answer]:
        """Answer by each of the schemas, all of which can be compiled."""
        makers = {name: self.grammars.compile(_grammar(schema)) for name, schema in schemas.items()}
        turns: Turns[str, Token] = Turns(self._engine.step)
        ids: dict[str, list[int]] = {name: [] for name in schemas}
        left = list(schemas)
        prompt = self.tokenizer.encode(PROMPT)
        while left or turns:
            while left and len(turns) < SLOTS:
                name = left.pop(0)
                params = SamplingParams(temperature=temperature, seed=len(left))
                answer = partial(self._engine.answer, prompt, params, MOST_TOKENS, self._stop_ids, Cancellation())
                turns.add(name, partial(answer, makers[name]()))
            ended = turns.round(lambda name, token: ids[name].append(token.id))
            assert not any(ended.values()), ended
        return {name: self._answer(found) for name, found in ids.items()}

    def refusal(self, schema: Any) -> str | None:
        """Why a schema is refused; None if it isn't."""
        try:
            self.grammars.compile(_grammar(schema))
        except GrammarRefused as error:
            return error.message.partition(": ")[2]
        return None

    def accepts(self, schema: Any, instance: Any) -> bool:
        """Whether an instance, as JSON, could be an answer."""
        constraint = self.grammars.compile(_grammar(schema))()
        ids = self.tokenizer.encode(json.dumps(instance, ensure_ascii=False), special=False)
        for id in ids:
            if constraint.ended or not (constraint.allowed()[id // 8] >> id % 8 & 1):
                return False
            constraint.advance(id)
        stops = [id for id in self._stop_ids if constraint.ended or constraint.allowed()[id // 8] >> id % 8 & 1]
        return bool(stops)

    def _answer(self, ids: Sequence[int]) -> Answer:
        return Answer(self.tokenizer.decode_bytes(ids).decode(errors="replace"), len(ids) < MOST_TOKENS)


def _grammar(schema: Any) -> Grammar:
    return Grammar("json_schema", json.dumps(schema, ensure_ascii=False), "schema")


def _is_integer(checker: Any, instance: Any) -> bool:
    return isinstance(instance, int | Decimal) and not isinstance(instance, bool) and instance == int(instance)


def problem(schema: Any, text: str) -> str | None:
    """Say what is wrong with an answer by a schema; None for nothing.

    Numbers are decimal, for 0.07 is a multiple of 0.01; formats count.
    """
    instance = json.loads(text, parse_float=_number, parse_constant=_refuse)
    schema = json.loads(json.dumps(schema), parse_float=_number)
    kind = validator_for(schema, jsonschema.Draft202012Validator)
    checker = kind.TYPE_CHECKER.redefine("integer", _is_integer)
    exact = jsonschema.validators.extend(kind, type_checker=checker)
    with localcontext(prec=1000):
        found = next(exact(schema, format_checker=kind.FORMAT_CHECKER).iter_errors(instance), None)
    return found and found.message


def _number(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:  # the exponent has too many digits
        return float(text)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
