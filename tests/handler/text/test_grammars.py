"""Grammars of all kinds, by real tokenizers; texts are walked through them token by token."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from handler.artefact import TOKENIZER, load_artefact
from handler.engine.constraint import Constraint
from handler.errors import GrammarExhausted, GrammarRefused
from handler.text.grammar import Grammar
from handler.text.grammars import KEPT, Grammars
from handler.text.spelling import Spelling
from handler.text.tokenizer import Tokenizer
from tests.conftest import ROOT
from tests.handler.doubles import BOS, EOS, VOCAB_SIZE, byte_tokenizer
from tests.handler.sentencepiece import SIZE, sentencepiece_tokenizer

OBJECT = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["name", "n"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def grammars() -> Grammars:
    return Grammars(byte_tokenizer(), VOCAB_SIZE, [EOS])


def schema(value: Any) -> Grammar:
    return Grammar("json_schema", json.dumps(value, ensure_ascii=False), "schema")


def allowed(constraint: Constraint) -> set[int]:
    return set(np.flatnonzero(np.unpackbits(constraint.allowed(), bitorder="little")).tolist())


def follows(constraint: Constraint, ids: list[int], stop: int = EOS) -> bool:
    """Whether the ids may come, and the end behind them."""
    for id in ids:
        forced = constraint.forced()
        if constraint.ended or id not in (forced[:1] or allowed(constraint)):
            return False
        constraint.advance(id)
    return constraint.ended or (not constraint.forced() and stop in allowed(constraint))


def takes(grammars: Grammars, grammar: Grammar, text: str) -> bool:
    return follows(grammars.compile(grammar)(), list(text.encode()))


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        (schema({"type": "object"}), '{"a": [1, {"b": null}]}', '{"a":1}'),
        (schema({"type": "object"}), "{}", "[]"),
        (schema(True), "3.5e2", "nil"),
        (schema(OBJECT), '{"name": "Ä\\n", "n": -7}', '{"n": 1, "name": ""}'),
        (schema(OBJECT), '{"name": "", "n": 0}', '{"name": "", "n": 0, "x": 1}'),
        (schema({"type": "string", "format": "date"}), '"2024-02-29"', '"2023-02-29"'),
        (schema({"type": "string", "format": "hostname"}), '"a-b.example"', '"xn--x.example"'),
        (schema({"type": "string", "format": "time"}), '"23:59:59Z"', '"23:59:60Z"'),
        (schema({"type": "string", "format": "path"}), '"/tmp/a"', "3"),
        (schema({"type": "string", "pattern": "^\\u00e9$"}), '"é"', '"e"'),
        (Grammar("regex", "[0-9]{3}|x+", "r"), "xxx", "12"),
        (Grammar("regex", "^[ab]+$", "r"), "abba", "abc"),
        (Grammar("lark", 'start: "a" b+\nb: /[0-9]/ "-"', "g"), "a1-2-", "a1-2"),
        (Grammar("gbnf", 'root ::= "a" [b-d]+ ("e" | "f")?', "g"), "abcde", "ae"),
        (Grammar("lark", f"start: %json {json.dumps(OBJECT)}", "g"), '{"name": "a", "n": 1}', '{"name":"a","n":1}'),
    ],
)
def test_a_grammar_takes_its_words_and_no_others(grammars: Grammars, grammar: Grammar, good: str, bad: str) -> None:
    assert takes(grammars, grammar, good)
    assert not takes(grammars, grammar, bad)


@pytest.mark.parametrize(
    ("bounds", "excluded", "good"),
    [
        ({"exclusiveMinimum": 0, "maximum": 0.5}, "0", "0.5"),
        ({"exclusiveMinimum": 0, "maximum": 1e-9}, "0", "0.000000001"),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, "0.0", "0.25"),
        ({"minimum": 0, "exclusiveMinimum": True, "maximum": 0.5}, "0", "0.5"),
        ({"allOf": [{"exclusiveMinimum": 2}, {"maximum": 2.5}]}, "2", "2.1"),
        ({"minimum": -0.5, "exclusiveMaximum": 0}, "-0", "-0.1"),
        ({"minimum": -2.5, "exclusiveMaximum": -2}, "-2", "-2.4"),
    ],
)
def test_a_whole_number_that_is_excluded_does_not_come(
    grammars: Grammars, bounds: dict[str, Any], excluded: str, good: str
) -> None:
    numbers = schema({"type": "number", **bounds})
    assert takes(grammars, numbers, good)
    assert not takes(grammars, numbers, excluded)


def test_names_have_one_spelling(grammars: Grammars) -> None:
    grammar = schema({"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}})
    assert takes(grammars, grammar, '{"b": "x"}')
    assert not takes(grammars, grammar, '{"\\u0061": "x"}')


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        (schema({"properties": {"a": {"uniqueItems": True}}}), "at #/properties/a/uniqueItems: "),
        (schema({"items": {"pattern": "(a"}}), "at #/items: regex parse error"),
        (schema({"items": {"properties": {"x": {"oneOf": [{}, {}]}}}}), "at #/items/properties/x: oneOf "),
        (schema(False), "at #: Unsatisfiable schema"),
        (schema({"$ref": "#"}), "at #: it is nothing but references"),
        (schema({"enum": [f"value {n}" for n in range(100_000)]}), "too big"),
        (Grammar("regex", "(a", "schema"), "unclosed group"),
        (Grammar("regex", "", "schema"), "empty"),
        (Grammar("regex", "(?=a)b", "schema"), "look-around"),
        (Grammar("lark", 'start: "a" missing', "schema"), "missing"),
        (Grammar("lark", "", "schema"), ""),
        (Grammar("lark", '{"grammars": [{"json_schema": {"uniqueItems": true}}]}', "schema"), ""),
        (Grammar("lark", 'start: %json {"not": {}}', "schema"), "at #/not"),
        (Grammar("lark", "start: %json {", "schema"), "behind %json"),
        (Grammar("gbnf", 'start ::= "a"', "schema"), "'root'"),
        (Grammar("gbnf", 'root ::= "a', "schema"), ""),
    ],
)
def test_what_cannot_be_followed_is_refused(grammars: Grammars, grammar: Grammar, reason: str) -> None:
    with pytest.raises(GrammarRefused) as caught:
        grammars.compile(grammar)
    assert caught.value.param == "schema"
    assert reason in caught.value.message
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    "hard",
    [
        {"allOf": [{"anyOf": [{"properties": {f"p{i}{j}": {}}} for j in range(4)]} for i in range(10)]},
        {"type": "string", "minLength": 100_000, "pattern": "a"},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(1999)}},
        {"type": "string", "pattern": "^((a|b)*c(a|b){20}){50}$"},
        {"type": "array", "minItems": 500_000, "maxItems": 1_000_000},
    ],
)
def test_what_is_hard_ends_in_an_answer_or_a_refusal(grammars: Grammars, hard: Any) -> None:
    rng = Random(0)
    with suppress(GrammarRefused, GrammarExhausted):
        constraint = grammars.compile(schema(hard))()
        for _ in range(50):
            choices = constraint.forced()[:1] or sorted(allowed(constraint) - {EOS})
            if not choices:
                break
            constraint.advance(rng.choice(choices))


def test_choices_are_taken_literally(grammars: Grammars) -> None:
    from tests.handler.api.requests import completion

    grammar = completion(guided_choice=["a.c", "a", "ä|", "\\n"]).options.grammar
    assert grammar is not None
    assert all(takes(grammars, grammar, text) for text in ("a.c", "a", "ä|", "\\n"))
    assert not any(takes(grammars, grammar, text) for text in ("abc", "", "ä", "\n"))


def test_the_end_may_come_where_the_grammar_may_end_and_nowhere_else(grammars: Grammars) -> None:
    constraint = grammars.compile(Grammar("regex", "ab*", "r"))()
    assert constraint.forced() == [ord("a")]
    constraint.advance(ord("a"))
    assert allowed(constraint) == {ord("b"), EOS}


def test_every_token_that_ends_answers_may_end_one() -> None:
    grammars = Grammars(byte_tokenizer(), VOCAB_SIZE, [EOS, ord("!")])
    constraint = grammars.compile(Grammar("regex", "[a!]{2,}", "r"))()
    assert allowed(constraint) == {ord("a")}  # what ends answers is no text
    for _ in range(2):
        constraint.advance(ord("a"))
    assert allowed(constraint) == {ord("a"), ord("!"), EOS}


def test_a_model_without_an_end_stops_where_nothing_may_follow() -> None:
    constraint = Grammars(byte_tokenizer(), VOCAB_SIZE, []).compile(Grammar("regex", "[ab]", "r"))()
    assert allowed(constraint) == {ord("a"), ord("b")}
    constraint.advance(ord("a"))
    assert constraint.ended


def test_no_text_is_a_special_token_and_no_padding_comes(grammars: Grammars) -> None:
    constraint = grammars.compile(Grammar("lark", "start: /(.|\\n)*/", "g"))()
    assert allowed(constraint) & {BOS, *range(EOS + 1, VOCAB_SIZE)} == set()
    assert takes(grammars, Grammar("regex", "<s>", "r"), "<s>")
    assert grammars.is_special(BOS)
    assert not grammars.is_special(ord("<"))


def test_lark_may_name_special_tokens(grammars: Grammars) -> None:
    for source in ("start: <s> /[a-z]+/", f"start: <[{BOS}]> /[a-z]+/"):
        constraint = grammars.compile(Grammar("lark", source, "g"))()
        assert follows(constraint, [BOS, *b"abc"])


def test_lark_may_wait_for_a_word(grammars: Grammars) -> None:
    source = 'start: head "=go>" end\nhead[lazy]: TEXT "<call"\nend: TEXT\nTEXT: /(.|\\n)*/'
    assert takes(grammars, Grammar("lark", source, "g"), "well, <call=go> done")
    assert not takes(grammars, Grammar("lark", source, "g"), "well, <call=stop>")


def test_half_a_character_is_followed_by_its_other_half(grammars: Grammars) -> None:
    constraint = grammars.compile(Grammar("regex", "[äb]+", "r"))()
    constraint.advance("ä".encode()[0])
    assert list(constraint.forced()) or allowed(constraint) == {"ä".encode()[1]}


def test_what_is_forced_is_spelled_as_the_tokenizer_does(demo_artefact: Path) -> None:
    artefact = load_artefact(demo_artefact, "quick")
    tokenizer = Tokenizer.load(demo_artefact / TOKENIZER)
    grammars = Grammars(tokenizer, artefact.vocab_size, artefact.eos_token_ids)
    text = '{"customer_identification_number": "'
    constraint = grammars.compile(
        schema(
            {
                "type": "object",
                "properties": {"customer_identification_number": {"type": "string"}},
                "required": ["customer_identification_number"],
            }
        )
    )()
    forced = constraint.forced()
    expected = tokenizer.encode(text, special=False)
    assert len(forced) >= len(expected) - 1
    assert list(forced) == expected[: len(forced)]


@pytest.mark.parametrize("text", ["hi  hi", " hi", "é中\n", "hi"])
def test_a_tokenizer_that_puts_a_blank_before_a_text_spells_without_it(text: str) -> None:
    tokenizer = sentencepiece_tokenizer()
    spelling = Spelling(tokenizer, SIZE + 10, [2])
    assert b"".join(spelling.tokens[id] for id in spelling(text)) == text.encode()
    assert spelling.special_token_ids == [0, 1, 2]
    grammar = Grammar("regex", f"(?:{text}|zz)", "r")
    constraint = Grammars(tokenizer, SIZE + 10, [2]).compile(grammar)()
    assert follows(constraint, spelling(text), stop=2)


def test_a_text_that_the_tokenizer_changes_is_spelled_by_its_tokens() -> None:
    class Changing(Tokenizer):
        def encode(self, text: str, *, special: bool = True, param: str = "prompt") -> list[int]:
            return super().encode(text.replace("Å", "A"), special=special, param=param)

    spelling = Spelling(Changing(byte_tokenizer()._kitoken), VOCAB_SIZE, [EOS])
    assert spelling("aÅb") == list("aÅb".encode())


def test_a_grammar_is_compiled_once(grammars: Grammars, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    grammars.compile(schema({"const": "first"}))
    assert grammars._tools is not None
    compile = grammars._tools.compile

    def counting(grammar: Grammar) -> Any:
        compiled.append(grammar.source)
        return compile(grammar)

    monkeypatch.setattr(grammars._tools, "compile", counting)
    for _ in range(3):
        grammars.compile(schema({"const": "again"}))
    assert len(compiled) == 1
    for n in range(KEPT):
        grammars.compile(schema({"const": n}))
    grammars.compile(schema({"const": "again"}))
    assert compiled.count(json.dumps({"const": "again"})) == 2


def test_answers_of_one_grammar_do_not_meet(grammars: Grammars) -> None:
    make = grammars.compile(Grammar("regex", "(ab|cd)*e", "r"))
    first, second = make(), make()
    first.advance(ord("a"))
    assert allowed(second) == {ord("a"), ord("c"), ord("e")}
    assert list(first.forced()) == [ord("b")]


def test_many_threads_may_compile_and_follow_at_once(grammars: Grammars) -> None:
    barrier = threading.Barrier(8)

    def work(n: int) -> bool:
        barrier.wait()
        value = {"const": n % 3}
        return all(takes(grammars, schema(value), str(n % 3)) for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_a_mask_that_was_prepared_is_the_same(grammars: Grammars) -> None:
    make = grammars.compile(schema(OBJECT))
    plain, prepared = make(), make()
    for id in b'{"name": "a':
        assert plain.forced() == prepared.forced()
        prepared.prepare()
        prepared.prepare()
        if not plain.forced():
            assert allowed(plain) == allowed(prepared)
        plain.advance(id)
        prepared.advance(id)


def test_guesses_are_cut_where_they_leave_the_grammar(grammars: Grammars) -> None:
    constraint = grammars.compile(schema({"type": "integer"}))()
    assert constraint.fitting(list(b"123,4")) == 3
    assert constraint.fitting(list(b"x")) == 0


def test_a_grammar_that_meets_a_limit_is_an_error_and_compiled_anew(grammars: Grammars) -> None:
    grammar = Grammar("lark", 'start: "a" /b+/\n', "g")
    constraint: Any = grammars.compile(grammar)()
    constraint.advance(ord("a"))
    with pytest.raises(GrammarExhausted):
        constraint.advance(ord("x"))  # the engine never does: this stands for a limit
    assert (grammar.kind, grammar.source) not in grammars._kept


def test_nothing_is_imported_before_the_first_grammar(demo_artefact: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from handler.settings import Settings; "
        "from handler.start.loading import load_model; "
        "import handler.http.app; load_model(Settings(Path(sys.argv[1])), 1); print('llguidance' in sys.modules)"
    )
    output = subprocess.check_output([sys.executable, "-c", script, str(demo_artefact)], cwd=ROOT, text=True)
    assert output.split()[-1] == "False"
