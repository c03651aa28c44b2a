from __future__ import annotations

import io

import pytest

from model_export import progress
from model_export.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_with_the_tensors_name() -> None:
    stream = Terminal()
    shown = Progress(1_000_000, stream)
    shown.advance("model.layers.3.mlp.down_proj.weight", 1_000_000)
    shown.close()
    assert "down_proj" in stream.getvalue()
    assert "100%" in stream.getvalue()


def test_a_file_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    stream = io.StringIO()
    shown = Progress(4_000_000, stream)
    shown.advance("a.weight", 1_000_000)
    shown.close()
    first, last = stream.getvalue().splitlines()
    assert first.startswith(" 25%  1.0 of 4.0 MB  a.weight, about ")
    assert "written in" in last
    assert "\r" not in stream.getvalue()


def test_nothing_to_do_is_all_done() -> None:
    stream = io.StringIO()
    Progress(0, stream).close()
    assert stream.getvalue().startswith("100%")
