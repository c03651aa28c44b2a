from __future__ import annotations

import pytest

from bench.worker import Worker


def test_a_worker_answers_line_by_line() -> None:
    with Worker("tests.bench.echo", FIRST="one", SECOND="two") as worker:
        assert [worker.ask("FIRST"), worker.ask("SECOND"), worker.ask("FIRST")] == ["one", "two", "one"]


def test_the_exit_status_of_a_worker_that_ends_is_passed_on() -> None:
    with Worker("tests.bench.echo") as worker, pytest.raises(SystemExit) as ended:
        worker.ask("end")
    assert ended.value.code == 3
