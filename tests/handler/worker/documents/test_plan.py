from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from handler.errors import NoRoomForDocument
from handler.model import Model
from handler.worker.documents.asking import Asking, read_asking
from handler.worker.documents.notifications import Source
from handler.worker.documents.plan import Plan, make_plan, pack
from handler.worker.documents.reading import Found, read_document
from tests.handler.doubles import TEMPLATE, ScriptedEngine, byte_model

SOURCE = Source("input", "documents/a", "v1", "e1", None, None)
# Short, so that small contexts have room for it.
MEMBERS = {"combine_instruction": "Join."}


def plan_of(
    text: str, context: int, content_type: str = "text/plain", source: Source = SOURCE, **members: Any
) -> tuple[Plan, Model]:
    model = byte_model(ScriptedEngine(), context, TEMPLATE)
    document = read_document(Found(text.encode(), content_type, "", {}), "a", 10**6)
    return make_plan(source, document, asking(model, **members), model), model


def asking(model: Model, **members: Any) -> Asking:
    return read_asking({}, "Sum.", MEMBERS | members, model.served)


TEXTS = st.text(st.sampled_from("ab ü\n.,#🙂"), min_size=1, max_size=400).filter(str.strip)
NUMBERS = st.none() | st.integers(1, 90)


@given(TEXTS, st.integers(90, 250), NUMBERS, st.sampled_from(["model", "list"]), st.booleans())
def test_no_character_is_lost_and_every_part_fits_with_its_answer(
    text: str, context: int, max_tokens: int | None, combine: str, lines: bool
) -> None:
    content_type = "application/jsonl" if lines else "text/markdown"
    body = "\n".join(json.dumps(line, ensure_ascii=False) for line in text.split("\n")) if lines else text
    with suppress(NoRoomForDocument):
        plan, model = plan_of(body, context, content_type, max_tokens=max_tokens, combine=combine)
        for record, parts in zip(plan.document.records, plan.parts, strict=True):
            assert [part.begin for part in parts] == [record.begin, *(part.end for part in parts[:-1])]
            assert parts[-1].end == record.end
            for part in parts:
                request = plan.asking.about(plan.document.text[part.begin : part.end], part.max_tokens)
                [task] = request.tasks(model.prompts)
                assert len(task.prompt_ids) == part.prompt_tokens
                assert part.prompt_tokens + part.max_tokens <= context
                assert task.max_tokens == part.max_tokens


@settings(max_examples=40)
@given(st.integers(120, 300), st.lists(st.text("ab c", max_size=200), min_size=2, max_size=12))
def test_answers_are_put_together_in_prompts_that_fit_and_there_are_fewer_of_them(
    context: int, texts: list[str]
) -> None:
    plan, model = plan_of("x" * 1000, context)
    answers = [text[: plan.combined_tokens] for text in texts]
    groups = pack(answers, plan, model)
    assert [index for group in groups for index in group] == list(range(len(answers)))
    assert len(groups) < len(answers)
    for group in groups:
        prompt = plan.asking.combining([answers[index] for index in group], 1).prompt_ids(model.prompts)
        assert len(prompt) + plan.combined_tokens <= context


def test_what_fits_is_one_part_with_all_the_tokens_that_were_asked_for() -> None:
    plan, _ = plan_of("short", 200, max_tokens=150)
    assert (plan.single, plan.parts[0][0].max_tokens) == (True, 150)


def test_without_a_number_an_answer_has_a_quarter_of_the_context() -> None:
    assert plan_of("short", 200)[0].parts[0][0].max_tokens == 50


def test_the_same_document_has_the_same_plan_and_another_one_has_another() -> None:
    ids = [
        plan_of("x" * 500, 200)[0].id,
        plan_of("x" * 500, 200)[0].id,
        plan_of("y" * 501, 200)[0].id,
        plan_of("x" * 500, 201)[0].id,
        plan_of("x" * 500, 200, seed=1)[0].id,
        plan_of("x" * 500, 200, source=Source("input", "documents/a", "v2", "e1", None, None))[0].id,
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 5


def test_what_is_written_down_has_every_part() -> None:
    plan, _ = plan_of("word " * 200, 200)
    written = json.loads(json.dumps(plan.members()))
    assert written["id"] == plan.id
    [record] = written["records"]
    assert [part["begin"] for part in record["parts"]] == [part.begin for part in plan.parts[0]]
    assert written["source"] == {"bucket": "input", "key": "documents/a", "version_id": "v1", "etag": "e1"}
