from __future__ import annotations

import sys

import pytest

from model_export import formats
from model_export.errors import FormatsFailed
from model_export.formats import chat_formats


def test_the_handler_tells_the_formats_of_a_template() -> None:
    told = chat_formats("{{ tools }} é <tool_call> </think>")
    assert told == {"tool_format": "hermes", "reasoning_format": "think"}


def test_a_base_model_has_none() -> None:
    assert chat_formats(None) == {"tool_format": None, "reasoning_format": None}


def test_a_process_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "COMMAND", (sys.executable, "-c", "raise SystemExit('no table')"))
    with pytest.raises(FormatsFailed, match="no table"):
        chat_formats("x")
