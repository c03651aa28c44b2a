from __future__ import annotations

from io import StringIO

from model_export import progress
from model_export.progress import Progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_quick_export_says_one_line_at_its_end() -> None:
    out = StringIO()
    shown = Progress(2_000_000, out)
    shown.advance("a", 1_500_000)
    shown.advance("b", 500_000)
    assert out.getvalue() == ""
    shown.close()
    assert out.getvalue().startswith("100%  2.0 of 2.0 MB  written in ")
    assert out.getvalue().count("\n") == 1


def test_a_slow_one_says_lines_between() -> None:
    out = StringIO()
    shown = Progress(4_000_000, out)
    shown._shown -= progress.LINE_INTERVAL
    shown.advance("model.layers.0.mlp.down_proj.weight", 1_000_000)
    shown.advance("model.layers.1.mlp.down_proj.weight", 1_000_000)
    (line,) = out.getvalue().splitlines()
    assert line.startswith(" 25%  1.0 of 4.0 MB  model.layers.0.mlp.down_proj.weight, about ")
    assert line.endswith(" s left")


def test_a_terminal_gets_a_bar_with_names_and_bytes() -> None:
    out = Terminal()
    shown = Progress(2_000_000, out)
    shown._bar.mininterval = 0  # type: ignore[union-attr]  # a terminal has one
    shown.advance("model.norm.weight", 1_000_000)
    shown.close()
    assert "model.norm.weight" in out.getvalue()
    assert "50%" in out.getvalue()
    assert "1.00M/2.00M" in out.getvalue()


def test_nothing_at_all_is_all_of_it() -> None:
    out = StringIO()
    Progress(0, out).close()
    assert out.getvalue().startswith("100%")
