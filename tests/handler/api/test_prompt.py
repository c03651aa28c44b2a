from __future__ import annotations

import pytest

from handler.errors import ContextLengthExceeded, EmptyPrompt
from tests.handler.api.requests import completion
from tests.handler.doubles import byte_prompts

PROMPTS = byte_prompts(None, context_length=10)


@pytest.mark.parametrize(("wanted", "given"), [(3, 3), (100, 6)])
def test_an_answer_gets_what_is_wanted_and_fits(wanted: int, given: int) -> None:
    assert completion(prompt=[1] * 4, max_tokens=wanted).tasks(PROMPTS)[0].max_tokens == given


def test_who_wants_no_number_gets_what_is_left() -> None:
    options = completion().options
    task = PROMPTS.text_task([1] * 4, type(options)(**{**vars(options), "max_tokens": None}), "prompt")
    assert task.max_tokens == 6


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        PROMPTS.text_task([1] * 10, completion().options, "messages")
    assert caught.value.param == "messages"


def test_a_prompt_without_tokens_is_refused() -> None:
    with pytest.raises(EmptyPrompt) as caught:
        PROMPTS.text_task([], completion().options, "messages")
    assert caught.value.param == "messages"


def test_a_task_has_what_ends_it() -> None:
    assert completion(stop=["x"]).tasks(PROMPTS)[0].stop == ("x",)
