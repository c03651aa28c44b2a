from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.text.calls import CallReader, new_id
from handler.text.deltas import Delta, joined
from handler.text.families import TOOL_FORMATS

NAMES = ("get_weather", "add")
OSLO = '{"city": "Oslo"}'
Said = tuple[str, list[tuple[str, str]]]


def chunked(text: str, cuts: Sequence[int]) -> Iterator[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    yield from (text[begin:end] for begin, end in pairwise(places))


def deltas(form: str, parts: Iterator[str] | Sequence[str], **options: bool) -> list[Delta]:
    numbers = count()
    reader = CallReader(TOOL_FORMATS[form], NAMES, make_id=lambda: f"call_{next(numbers)}", **options)
    return [*(reader.push(part) for part in parts), reader.end()]


def said(form: str, text: str, cuts: Sequence[int] = (), **options: bool) -> Said:
    (whole,) = joined(deltas(form, chunked(text, cuts), **options))
    assert [call.id for call in whole.calls] == [f"call_{call.index}" for call in whole.calls]
    return whole.text, [(call.name or "", call.arguments) for call in whole.calls]


def hermes(*calls: str) -> str:
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)


WEATHER = f'{{"name": "get_weather", "arguments": {OSLO}}}'
ADD = '{"name": "add", "arguments": {"a": 1, "b": [2, {"c": "}"}]}}'
LLAMA = WEATHER.replace("arguments", "parameters")
ONE = [("get_weather", OSLO)]
TWO = [*ONE, ("add", '{"a": 1, "b": [2, {"c": "}"}]}')]
PYTHONIC = [("get_weather", OSLO), ("add", '{"a": 1, "b": [true, null]}')]

# A format, what a model writes, its words, its calls.
TEXTS = [
    ("hermes", "just words, no call", "just words, no call", []),
    ("hermes", "  blanks stay \n", "  blanks stay \n", []),
    ("hermes", hermes(WEATHER), "", ONE),
    ("hermes", hermes(WEATHER, ADD), "", TWO),
    ("hermes", f"Let me see. \n{hermes(WEATHER)}\n", "Let me see.", ONE),
    ("hermes", f"a\n{hermes(WEATHER)}\n b c \n{hermes(ADD)} d", "ab cd", TWO),
    ("hermes", f"<tool_call>{WEATHER}", "", ONE),
    ("hermes", f"<tool_call>{WEATHER}{hermes(ADD)}", "", TWO),
    ("hermes", f"<tool_call>[{WEATHER}, {ADD}]</tool_call>", "", TWO),
    ("hermes", '<tool_call>{"arguments": {"a": 1}, "id": "7", "name": "add"}</tool_call>', "", [("add", '{"a": 1}')]),
    ("hermes", '<tool_call>{"name": "add"}</tool_call>', "", [("add", "{}")]),
    ("hermes", '<tool_call>{"name": "add", "arguments": null}</tool_call>', "", [("add", "{}")]),
    ("hermes", r'<tool_call>{"name": "add", "arguments": "{\"a\": 1}"}</tool_call>', "", [("add", '{"a": 1}')]),
    ("hermes", "a < b <tool", "a < b <tool", []),
    ("hermes", "<tool_call> is how", "<tool_call> is how", []),
    ("hermes", hermes(WEATHER.replace("get", "set")), hermes(WEATHER.replace("get", "set")), []),
    ("hermes", '<tool_call>{"name": "add", x}</tool_call> so', '<tool_call>{"name": "add", x}</tool_call> so', []),
    ("hermes", '<tool_call>\n{"name": "add", "argu', '<tool_call>\n{"name": "add", "argu', []),
    ("hermes", f"<tool_call>oh {hermes(WEATHER)}", "<tool_call>oh", ONE),
    ("hermes", '<tool_call>{"name": "add", "arguments": [1]}', '<tool_call>{"name": "add", "arguments": [1]}', []),
    ("hermes", WEATHER, WEATHER, []),
    ("llama3_json", LLAMA, "", ONE),
    ("llama3_json", WEATHER, "", ONE),
    ("llama3_json", f"<|python_tag|>{LLAMA}", "", ONE),
    ("llama3_json", f"I look.<|python_tag|>{LLAMA}", "I look.", ONE),
    ("llama3_json", f"\n{LLAMA}; {ADD}", "", TWO),
    ("llama3_json", f"{LLAMA}\n{ADD}\n", "", TWO),
    ("llama3_json", f"[{LLAMA}, {ADD}]", "", TWO),
    ("llama3_json", f"{LLAMA} and words", "and words", ONE),
    ("llama3_json", f"See: {LLAMA}", f"See: {LLAMA}", []),
    ("llama3_json", '{"name": "get_weather"}', '{"name": "get_weather"}', []),
    ("llama3_json", '{"answer": 42} is it', '{"answer": 42} is it', []),
    ("llama3_json", " [1, 2]\n", " [1, 2]\n", []),
    ("llama3_json", '<|python_tag|>print("hi")', '<|python_tag|>print("hi")', []),
    ("llama3_json", "[get_weather(city='Oslo')]", "", ONE),
    ("pythonic", "[get_weather(city='Oslo'), add(a=1, b=[True, None])]", "", PYTHONIC),
    ("pythonic", '[get_weather(city="Oslo"), add(a=1, b=[true, null])]', "", PYTHONIC),
    ("pythonic", "[get_weather('Oslo')]", "[get_weather('Oslo')]", []),
    ("pythonic", "[set_weather(city='Oslo')]", "[set_weather(city='Oslo')]", []),
    ("pythonic", "[get_weather(city=open('x'))]", "[get_weather(city=open('x'))]", []),
    ("pythonic", "[get_weather(city={1})]", "[get_weather(city={1})]", []),
    ("pythonic", "[get_weather(city=1e999)]", "[get_weather(city=1e999)]", []),
    ("pythonic", "[get_weather(city=']\\'')]", "", [("get_weather", '{"city": "]\'"}')]),
    ("pythonic", '[get_weather(city="\\ud83d\\ude00")]', "", [("get_weather", '{"city": "\\ud83d\\ude00"}')]),
    ("mistral", f"[TOOL_CALLS][{WEATHER}, {ADD}]", "", TWO),
    ("mistral", f"[TOOL_CALLS] [{WEATHER[:-1]}, \"id\": \"VvvODy9mT\"}}]", "", ONE),
    ("mistral", f"Well [TOOL_CALLS]{WEATHER}", "Well", ONE),
    ("mistral", f"[TOOL_CALLS][{WEATHER}, {{}}]", ", {}]", ONE),
    ("mistral_args", f"[TOOL_CALLS]get_weather[ARGS]{OSLO}[TOOL_CALLS]add[ARGS]{{}}", "", [*ONE, ("add", "{}")]),
    ("mistral_args", f"[TOOL_CALLS]get_weather[CALL_ID]VvvODy9mT[ARGS]{OSLO}", "", ONE),
    ("mistral_args", f"[TOOL_CALLS]set_weather[ARGS]{OSLO}", f"[TOOL_CALLS]set_weather[ARGS]{OSLO}", []),
    ("generic", hermes(WEATHER, ADD), "", TWO),
]  # fmt: skip


@pytest.mark.parametrize(("form", "text", "words", "calls"), TEXTS)
def test_what_is_no_call_stays_text(form: str, text: str, words: str, calls: list[tuple[str, str]]) -> None:
    assert said(form, text) == (words, calls)


@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 500), max_size=8), st.booleans())
def test_it_does_not_depend_on_how_the_text_comes(row: tuple[str, str, str, object], cuts: list[int], b: bool) -> None:
    form, text, *_ = row
    assert said(form, text, cuts, certain=b) == said(form, text, certain=b)
    assert said(form, text, range(len(text)), certain=b) == said(form, text, certain=b)


PIECES = ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "[", "]", "{", "}", ",", ";", ' "',
          '"name": "add"', '"arguments": ', '"parameters": {', "add", "get_weather(", ")", "city='x'", " ", "\n", "\\",
          "é", WEATHER, ADD, "<tool", "word "]  # fmt: skip


@given(
    st.sampled_from(sorted(TOOL_FORMATS)),
    st.lists(st.sampled_from(PIECES), max_size=12),
    st.lists(st.integers(0, 500), max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_whatever_comes_the_pieces_make_no_difference(
    form: str, pieces: list[str], cuts: list[int], certain: bool, parallel: bool
) -> None:
    text = "".join(pieces)
    whole = said(form, text, certain=certain, parallel=parallel)
    assert said(form, text, cuts, certain=certain, parallel=parallel) == whole
    if not certain:
        assert all(isinstance(json.loads(arguments), dict) for _, arguments in whole[1])


@given(st.text(st.characters(exclude_characters="<[{"), max_size=50), st.lists(st.integers(0, 50), max_size=5))
def test_free_text_is_left_alone(text: str, cuts: list[int]) -> None:
    for form in TOOL_FORMATS:
        assert said(form, text, cuts) == (text, [])


def test_half_a_marker_is_held_back() -> None:
    told = deltas("hermes", ["a <tool_c", "all>", '{"name"', ": 1", "}"])
    assert [delta.text for delta in told] == ["a", "", "", "", ' <tool_call>{"name": 1}', ""]


def test_certain_arguments_come_as_they_are_written() -> None:
    text = hermes(WEATHER)
    told = [call for delta in deltas("hermes", list(text), certain=True) for call in delta.calls]
    assert [(call.index, call.id, call.name, call.arguments) for call in told[:2]] == [
        (0, "call_0", "get_weather", ""),
        (0, None, None, "{"),
    ]
    assert [call.arguments for call in told[1:]] == list(OSLO)


@pytest.mark.parametrize(
    ("form", "text", "words"),
    [
        ("hermes", '<tool_call>\n{"name": "get_', ""),
        ("hermes", "Let me see. <tool_call>", "Let me see. "),
        ("hermes", f"{hermes(WEATHER)}\n<tool_call>", ""),
        ("mistral", '[TOOL_CALLS][{"name', ""),
        ("mistral_args", "[TOOL_CALLS]get_wea", ""),
        ("llama3_json", '{"name": "get', ""),
        ("pythonic", "[get_weather(ci", ""),
    ],
)
def test_half_a_call_that_can_be_nothing_else_is_left_out(form: str, text: str, words: str) -> None:
    assert said(form, text, certain=True, halves=False)[0] == words


def test_half_a_marker_is_left_out_where_there_are_no_words() -> None:
    assert said("hermes", "<tool_", certain=True, halves=False, words=False) == ("", [])


def test_it_is_told_whether_a_call_was_cut_off() -> None:
    for end, cut in ((54, True), (None, False)):
        reader = CallReader(TOOL_FORMATS["hermes"], NAMES, certain=True)
        reader.push(hermes(WEATHER)[:end])
        reader.end()
        assert reader.cut is cut


def test_certain_arguments_that_are_cut_off_are_told_as_far_as_they_came() -> None:
    assert said("hermes", hermes(WEATHER)[:54], certain=True) == ("", [("get_weather", OSLO[:5])])


def test_the_second_of_calls_that_may_not_be_several_is_left_out() -> None:
    assert said("hermes", hermes(WEATHER, ADD), parallel=False) == ("", ONE)


def test_ids_are_openais() -> None:
    assert new_id().startswith("call_")
    assert new_id() != new_id()
