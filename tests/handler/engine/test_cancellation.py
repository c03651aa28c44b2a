from __future__ import annotations

import threading

from handler.engine.cancellation import Cancellation


def test_a_watcher_is_told_at_once() -> None:
    told: list[int] = []
    cancellation = Cancellation()
    cancellation.watch(lambda: told.append(1))
    assert not cancellation.cancelled
    assert not told
    cancellation.cancel()
    assert cancellation.cancelled
    assert told == [1]


def test_a_late_watcher_is_told_too() -> None:
    told: list[int] = []
    cancellation = Cancellation()
    cancellation.cancel()
    cancellation.watch(lambda: told.append(1))
    assert told == [1]


def test_who_watches_no_more_is_not_told() -> None:
    told: list[int] = []
    cancellation = Cancellation()
    cancellation.watch(lambda: told.append(1))
    cancellation.watch(None)
    cancellation.cancel()
    assert told == []


def test_it_may_be_cancelled_again() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    cancellation.cancel()
    assert cancellation.cancelled


def test_whoever_ends_watching_while_another_thread_cancels_is_told_before_or_never() -> None:
    for _ in range(200):
        cancellation = Cancellation()
        watching, told_late = threading.Event(), list[int]()
        watching.set()

        def tell(watching: threading.Event = watching, late: list[int] = told_late) -> None:
            if not watching.is_set():
                late.append(1)

        cancellation.watch(tell)
        thread = threading.Thread(target=cancellation.cancel)
        thread.start()
        cancellation.watch(None)
        watching.clear()
        thread.join()
        assert told_late == []
