from __future__ import annotations

from collections.abc import Generator

import pytest

from handler.turns import Turns, side_by_side, stepped


class Line:
    """Gives its items in order, None where it waits, and remembers that it was closed."""

    def __init__(self, *items: str | Exception | None, at_the_end: Exception | None = None) -> None:
        self.items, self.at_the_end = items, at_the_end
        self.begun = self.closed = False

    def __call__(self) -> Generator[str | None, None, None]:
        self.begun = True
        try:
            for item in self.items:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed = True
            if self.at_the_end is not None:
                raise self.at_the_end


class Driven:
    """Turns whose steps and items are counted."""

    def __init__(self, *lines: Line, fails: Exception | None = None) -> None:
        self.steps = 0
        self.fails = fails
        self.got: list[tuple[int, str]] = []
        self.turns: Turns[int, str] = Turns(self.step)
        for key, line in enumerate(lines):
            self.turns.add(key, line)

    def step(self) -> None:
        self.steps += 1
        if self.fails is not None:
            raise self.fails

    def round(self) -> dict[int, Exception | None]:
        return self.turns.round(lambda key, item: self.got.append((key, item)))


def test_a_generator_is_made_in_its_first_turn() -> None:
    line = Line("a")
    driven = Driven(line)
    assert not line.begun
    driven.round()
    assert line.begun


def test_each_is_pulled_until_it_waits_then_one_step_is_for_all() -> None:
    driven = Driven(Line("a", "b", None, "c"), Line(None, "x"))
    assert driven.round() == {}
    assert driven.got == [(0, "a"), (0, "b")]
    assert driven.steps == 1
    assert driven.round() == {0: None, 1: None}
    assert driven.got[2:] == [(0, "c"), (1, "x")]


def test_where_none_waits_there_is_no_step() -> None:
    driven = Driven(Line("a"), Line())
    assert driven.round() == {0: None, 1: None}
    assert (driven.steps, len(driven.turns)) == (0, 0)


def test_one_s_error_ends_nobody_else() -> None:
    error = RuntimeError("broken")
    driven = Driven(Line(error), Line(None, "x"))
    assert driven.round() == {0: error}
    assert driven.round() == {1: None}
    assert driven.got == [(1, "x")]


def test_an_error_while_it_is_made_is_its_own() -> None:
    def work() -> Generator[str | None, None, None]:
        raise ValueError("none")

    driven = Driven(Line("a"))
    driven.turns.add(7, work)
    assert isinstance(driven.round()[7], ValueError)


def test_whose_item_is_not_taken_is_closed() -> None:
    line, other = Line("a", None, "b"), Line(None, "x")
    driven = Driven(line, other)
    error = RuntimeError("gone")

    def deliver(key: int, item: str) -> None:
        raise error

    assert driven.turns.round(deliver) == {0: error}
    assert line.closed
    assert not other.closed


def test_a_step_that_fails_ends_all_that_wait() -> None:
    lines, error = [Line(None, "a"), Line(None, "b"), Line("c")], RuntimeError("no step")
    driven = Driven(*lines, fails=error)
    assert driven.round() == {0: error, 1: error, 2: None}
    assert all(line.closed for line in lines)
    assert len(driven.turns) == 0


def test_what_goes_wrong_at_its_end_is_told_and_ends_nobody_else() -> None:
    failure, gone = RuntimeError("at the end"), RuntimeError("gone")
    driven = Driven(Line("a", at_the_end=failure), Line(None, "x"))

    def deliver(key: int, item: str) -> None:
        if key == 0:
            raise gone

    assert driven.turns.round(deliver) == {0: gone}
    assert driven.round() == {1: None}


def test_a_step_that_fails_ends_even_those_that_fail_to_end() -> None:
    last = Line(None, "b")
    driven = Driven(Line(None, at_the_end=RuntimeError("at the end")), last, fails=RuntimeError("no step"))
    assert driven.round().keys() == {0, 1}
    assert last.closed


def test_closing_closes_all() -> None:
    lines = [Line(None, "a"), Line(None, "b")]
    driven = Driven(*lines)
    driven.round()
    driven.turns.close()
    assert all(line.closed for line in lines)


def test_one_by_itself_steps_where_it_waits() -> None:
    steps: list[int] = []
    assert list(stepped(Line(None, "a", None, None, "b")(), lambda: steps.append(1))) == ["a", "b"]
    assert len(steps) == 3


def test_one_by_itself_is_closed_with_its_items() -> None:
    line = Line("a", None, "b")
    items = stepped(line(), lambda: None)
    next(items)
    items.close()
    assert line.closed


def test_one_by_itself_is_closed_where_its_step_fails() -> None:
    def fail() -> None:
        raise RuntimeError("no step")

    line = Line(None, "a")
    with pytest.raises(RuntimeError, match="no step"):
        list(stepped(line(), fail))
    assert line.closed


# ---------------------------------------------------------------- side by side


def grouped(*groups: str, **lines: Line) -> list[tuple[str, Line]]:
    return [(group, line) for group, line in zip(groups, lines.values(), strict=True)]


def test_those_that_run_side_by_side_take_turns_and_wait_together() -> None:
    works = grouped("x", "y", a=Line("a1", None, "a2"), b=Line("b1", None, "b2"))
    assert list(side_by_side(works, lambda: 2)) == [(0, "a1"), (1, "b1"), None, (0, "a2"), (1, "b2")]


def test_one_at_a_time_they_come_in_their_order() -> None:
    works = grouped("x", "x", "y", a=Line(None, "a"), b=Line("b"), c=Line(None, "c"))
    assert list(side_by_side(works, lambda: 0)) == [None, (0, "a"), (1, "b"), None, (2, "c")]


def test_the_first_of_a_group_begins_alone() -> None:
    lines = {"a": Line(None, "a1", None, "a2"), "b": Line("b"), "c": Line(None, "c")}
    running = side_by_side(grouped("x", "x", "y", **lines), lambda: 2)
    assert next(running) is None
    assert (lines["a"].begun, lines["b"].begun, lines["c"].begun) == (True, False, True)
    assert list(running) == [(0, "a1"), (2, "c"), (1, "b"), None, (0, "a2")]


def test_more_may_run_as_places_are_given() -> None:
    lines = {name: Line(None, None, name) for name in "abc"}
    places = [1]
    running = side_by_side(grouped("x", "y", "z", **lines), lambda: places[0])
    next(running)
    assert not lines["b"].begun
    places[0] = 3
    next(running)
    assert lines["b"].begun
    assert lines["c"].begun


@pytest.mark.parametrize("fails", [True, False])
def test_all_are_closed_when_one_fails_or_nobody_wants_more(fails: bool) -> None:
    lines = {"a": Line("a", None, "b"), "b": Line(None, RuntimeError("broken") if fails else None)}
    running = side_by_side(grouped("x", "y", **lines), lambda: 2)
    if fails:
        with pytest.raises(RuntimeError, match="broken"):
            list(running)
    else:
        next(running)
        next(running)
        running.close()
    assert all(line.closed for line in lines.values())
