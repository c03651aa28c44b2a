from __future__ import annotations

from handler.text.detokenizer import Detokenizer
from handler.text.shown import Shown
from tests.handler.text.test_call_grammar import MARKED


def test_chosen_special_tokens_are_text() -> None:
    mark = MARKED.special_id("[TOOL_CALLS]")
    assert mark is not None
    text = "é[TOOL_CALLS] [ARGS]b"
    ids = MARKED.encode(text)
    detokenizer, plain = Detokenizer(Shown(MARKED, {mark: b"[TOOL_CALLS]"})), Detokenizer(MARKED)
    assert "".join(map(detokenizer.push, ids)) == "é[TOOL_CALLS] b"
    assert "".join(map(plain.push, ids)) == "é b"


def test_only_special_tokens_have_an_id_that_hides() -> None:
    assert MARKED.special_id("a") is None
    assert MARKED.special_id("[ARGS][ARGS]") is None
    assert MARKED.special_id("") is None
