"""Errors become exit codes."""

from __future__ import annotations

import pytest

from image.command import exit_code
from image.errors import NotRoot


def failing(error: BaseException) -> int:
    def work() -> None:
        raise error

    return exit_code(work)


def test_what_works_is_0() -> None:
    assert exit_code(lambda: None) == 0


@pytest.mark.parametrize("error", [NotRoot("mmdebstrap"), OSError(28, "No space left on device", "/x")])
def test_what_a_user_can_mend_is_one_line_and_2(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(error) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_ctrl_c_is_130_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""
