from __future__ import annotations

import threading
import time
from collections.abc import Generator

import pytest

from handler.deadline import Deadline, Expiry, until
from handler.engine.cancellation import Cancellation
from handler.errors import Cancelled, DeadlineExceeded, TimeUp


class Slow:
    """Numbers, of which some come at once and the next only when somebody cancels."""

    def __init__(self, at_once: int) -> None:
        self.at_once, self.cancellation, self.closed = at_once, Cancellation(), False

    def numbers(self) -> Generator[int, None, None]:
        try:
            yield from range(self.at_once)
            while not self.cancellation.cancelled:
                time.sleep(0.001)
            raise Cancelled
        finally:
            self.closed = True


def soon() -> Deadline:
    return Deadline(time.time() + 0.5)


def test_the_deadline_ends_what_has_begun() -> None:
    slow = Slow(2)
    numbers = until(soon(), slow.numbers(), slow.cancellation)
    assert [next(numbers), next(numbers)] == [0, 1]
    with pytest.raises(TimeUp):
        next(numbers)
    assert slow.closed


def test_a_deadline_before_the_first_token_is_an_error() -> None:
    slow = Slow(0)
    with pytest.raises(DeadlineExceeded):
        list(until(soon(), slow.numbers(), slow.cancellation))


def test_a_deadline_that_has_passed_lets_nothing_begin() -> None:
    slow = Slow(0)
    with pytest.raises(DeadlineExceeded):
        list(until(Deadline(0), slow.numbers(), slow.cancellation))


def test_what_ends_in_time_is_left_alone() -> None:
    cancellation = Cancellation()
    numbers = (number for number in range(3))
    assert list(until(Deadline(time.time() + 60), numbers, cancellation)) == [0, 1, 2]
    for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        timer.join(30)
        assert not timer.is_alive()
    assert not cancellation.cancelled


def test_somebody_elses_cancellation_is_passed_on() -> None:
    slow = Slow(0)
    slow.cancellation.cancel()
    with pytest.raises(Cancelled):
        list(until(Deadline(time.time() + 60), slow.numbers(), slow.cancellation))


def test_the_wall_clock_counts_even_if_the_timer_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(2)
    numbers = until(Deadline(time.time() + 60), slow.numbers(), slow.cancellation)
    next(numbers)
    later = time.time() + 3600
    monkeypatch.setattr("handler.deadline.time.time", lambda: later)
    with pytest.raises(TimeUp):
        next(numbers)


def test_a_deadline_that_passes_while_the_first_token_takes_steps_is_an_error() -> None:
    def waiting() -> Generator[int | None, None, None]:
        while True:
            yield None

    with pytest.raises(DeadlineExceeded):
        list(until(soon(), waiting(), Cancellation()))


def test_closing_closes_the_engine() -> None:
    slow = Slow(2)
    numbers = until(Deadline(time.time() + 60), slow.numbers(), slow.cancellation)
    next(numbers)
    numbers.close()
    assert slow.closed


def test_a_token_of_one_is_enough_for_all_that_share_an_expiry() -> None:
    slow, other = Slow(1), Slow(0)
    other.cancellation = slow.cancellation
    with Expiry(soon(), slow.cancellation) as expiry:
        first, second = expiry.until(slow.numbers()), expiry.until(other.numbers())
        assert next(first) == 0
        for numbers in (second, first):
            with pytest.raises(TimeUp):
                next(numbers)
