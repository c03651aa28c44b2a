from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator

import pytest

from handler.engine.cancellation import Cancellation
from handler.errors import Cancelled, ClientGone, DeadlineExceeded, QueueFull, ShuttingDown
from handler.scheduler import Scheduler, Ticket


class Work:
    """A generation of three items that waits for a gate before each; as one of several it waits in steps."""

    def __init__(
        self, name: str = "w", order: list[str] | None = None, fail: bool = False, steps: bool = False
    ) -> None:
        self.name, self.fail, self.steps = name, fail, steps
        self.order = [] if order is None else order
        self.gate, self.started, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.cancellation = Cancellation()
        self.ticket: Ticket[str] = Ticket(self.items, self.cancellation)

    def items(self) -> Generator[str | None, None, None]:
        self.order.append(self.name)
        self.started.set()
        try:
            for number in range(3):
                while not self.gate.wait(0.001):
                    if self.cancellation.cancelled:
                        raise Cancelled
                    if self.steps:
                        yield None
                if self.fail:
                    raise RuntimeError("broken")
                yield f"{self.name}{number}"
        finally:
            self.closed.set()

    async def read(self) -> list[str]:
        return [item async for item in self.ticket.items()]


def within(
    test: Callable[[Scheduler[str]], Awaitable[None]],
    queue: int = 2,
    slots: int = 1,
    step: Callable[[], None] = lambda: None,
) -> None:
    async def run() -> None:
        await asyncio.wait_for(test(Scheduler(queue, slots, step)), 60)

    asyncio.run(run())


async def started(work: Work) -> None:
    assert await asyncio.to_thread(work.started.wait, 10)


def test_items_come_in_their_order() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        work = Work()
        work.gate.set()
        scheduler.submit(work.ticket)
        assert await work.read() == ["w0", "w1", "w2"]

    within(test)


def test_tickets_run_one_by_one_in_their_order() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        order: list[str] = []
        works = [Work(name, order) for name in "abc"]
        for work in works:
            scheduler.submit(work.ticket)
        await started(works[0])
        assert order == ["a"]
        for work in works:
            work.gate.set()
        await asyncio.gather(*(work.read() for work in works))
        assert order == ["a", "b", "c"]

    within(test)


def test_beyond_the_queue_a_ticket_is_refused() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        works = [Work() for _ in range(3)]
        for work in works:
            scheduler.submit(work.ticket)
        with pytest.raises(QueueFull) as caught:
            scheduler.submit(Work().ticket)
        assert int(caught.value.headers["retry-after"]) >= 1
        for work in works:
            work.gate.set()
            await work.read()
        scheduler.submit(works[0].ticket)

    within(test)


def test_no_queue_means_one_at_a_time() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        work = Work()
        scheduler.submit(work.ticket)
        with pytest.raises(QueueFull):
            scheduler.check_room()
        work.gate.set()
        await work.read()
        scheduler.check_room()

    within(test, queue=0)


def test_a_failure_reaches_its_reader_and_nobody_else() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        broken, sound = Work(fail=True), Work()
        for work in (broken, sound):
            work.gate.set()
            scheduler.submit(work.ticket)
        with pytest.raises(RuntimeError, match="broken"):
            await broken.read()
        assert len(await sound.read()) == 3

    within(test)


def test_cancelling_ends_the_work_and_starts_the_next() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        first, second = Work(), Work()
        second.gate.set()
        scheduler.submit(first.ticket)
        scheduler.submit(second.ticket)
        await started(first)
        scheduler.cancel(first.ticket, ClientGone())
        with pytest.raises(ClientGone):
            await first.read()
        assert first.closed.is_set()
        assert len(await second.read()) == 3

    within(test)


def test_who_leaves_the_queue_makes_room() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        running, waiting, late = Work(), Work(), Work()
        scheduler.submit(running.ticket)
        scheduler.submit(waiting.ticket)
        scheduler.cancel(waiting.ticket, ClientGone())
        scheduler.submit(late.ticket)
        with pytest.raises(ClientGone):
            await waiting.read()
        assert not waiting.started.is_set()
        for work in (running, late):
            work.gate.set()
            await work.read()

    within(test, queue=1)


def test_only_what_waits_can_be_withdrawn() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        running, waiting = Work(), Work()
        for work in (running, waiting):
            scheduler.submit(work.ticket)
        await started(running)
        for work in (running, waiting):
            scheduler.withdraw(work.ticket, DeadlineExceeded())
        with pytest.raises(DeadlineExceeded):
            await waiting.read()
        running.gate.set()
        assert len(await running.read()) == 3

    within(test)


def test_cancelling_what_is_done_changes_nothing() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        work = Work()
        work.gate.set()
        scheduler.submit(work.ticket)
        while not work.closed.is_set():
            await asyncio.sleep(0.001)
        await scheduler.drain(10)
        scheduler.cancel(work.ticket, ClientGone())
        assert len(await work.read()) == 3

    within(test)


def test_draining_waits_for_what_is_here_and_takes_no_more() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        work = Work()
        scheduler.submit(work.ticket)
        draining = asyncio.create_task(scheduler.drain(10))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            scheduler.submit(Work().ticket)
        work.gate.set()
        await draining
        assert len(await work.read()) == 3

    within(test)


def test_after_the_grace_period_all_is_ended() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        running, waiting = Work(), Work()
        for work in (running, waiting):
            scheduler.submit(work.ticket)
        await scheduler.drain(0.01)
        for work in (running, waiting):
            with pytest.raises(ShuttingDown):
                await work.read()

    within(test)


# ---------------------------------------------------------------- several at a time


def several(count: int, order: list[str] | None = None) -> list[Work]:
    return [Work(name, order, steps=True) for name in "abcdef"[:count]]


def test_as_many_run_as_there_are_slots_and_the_others_wait() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        order: list[str] = []
        works = several(4, order)
        for work in works:
            scheduler.submit(work.ticket)
        for work in works[:3]:
            await started(work)
        assert not works[3].started.is_set()
        works[1].gate.set()
        assert await works[1].read() == ["b0", "b1", "b2"]
        await started(works[3])
        for work in works:
            work.gate.set()
        for work in (works[0], works[2], works[3]):
            assert len(await work.read()) == 3
        assert order == ["a", "b", "c", "d"]

    within(test, slots=3)


def test_beyond_slots_and_queue_a_ticket_is_refused() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        works = several(5)
        for work in works:
            scheduler.submit(work.ticket)
        with pytest.raises(QueueFull) as caught:
            scheduler.check_room()
        assert int(caught.value.headers["retry-after"]) >= 1
        works[0].gate.set()
        await works[0].read()
        scheduler.check_room()
        for work in works[1:]:
            work.gate.set()
            await work.read()

    within(test, queue=2, slots=3)


def test_more_slots_let_a_client_retry_sooner() -> None:
    def waits_s(slots: int) -> int:
        scheduler: Scheduler[str] = Scheduler(queue=7, slots=slots)

        async def fill() -> int:
            works = [Work(steps=True) for _ in range(slots + 7)]
            for work in works:
                scheduler.submit(work.ticket)
            with pytest.raises(QueueFull) as caught:
                scheduler.check_room()
            await scheduler.drain(0)
            return int(caught.value.headers["retry-after"])

        return asyncio.run(fill())

    assert (waits_s(1), waits_s(4)) == (8, 2)


def test_cancelling_one_of_several_ends_it_alone() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        works = several(3)
        for work in works:
            scheduler.submit(work.ticket)
            await started(work)
        scheduler.cancel(works[1].ticket, ClientGone())
        with pytest.raises(ClientGone):
            await works[1].read()
        for work in (works[0], works[2]):
            assert not work.closed.is_set()
            work.gate.set()
            assert len(await work.read()) == 3

    within(test, slots=3)


def test_an_error_in_one_of_several_is_its_own() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        broken, sound = Work(fail=True, steps=True), Work(steps=True)
        for work in (broken, sound):
            scheduler.submit(work.ticket)
            await started(work)
        broken.gate.set()
        with pytest.raises(RuntimeError, match="broken"):
            await broken.read()
        sound.gate.set()
        assert len(await sound.read()) == 3

    within(test, slots=2)


def test_a_step_that_fails_ends_those_that_wait_and_no_later_ones() -> None:
    fails = threading.Event()

    def step() -> None:
        if fails.is_set():
            fails.clear()
            raise RuntimeError("no step")

    async def test(scheduler: Scheduler[str]) -> None:
        works = several(2)
        for work in works:
            scheduler.submit(work.ticket)
            await started(work)
        fails.set()
        for work in works:
            with pytest.raises(RuntimeError, match="no step"):
                await work.read()
            assert work.closed.is_set()
        late = Work(steps=True)
        late.gate.set()
        scheduler.submit(late.ticket)
        assert len(await late.read()) == 3

    within(test, slots=2, step=step)


def test_draining_waits_for_several_and_for_those_behind_them() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        works = several(3)
        for work in works:
            scheduler.submit(work.ticket)
        draining = asyncio.create_task(scheduler.drain(60))
        for work in works:
            assert not draining.done()
            work.gate.set()
            assert len(await work.read()) == 3
        await draining

    within(test, slots=2)


def test_after_the_grace_period_several_and_those_behind_them_are_ended() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        works = several(4)
        for work in works:
            scheduler.submit(work.ticket)
        await scheduler.drain(0.01)
        for work in works:
            with pytest.raises(ShuttingDown):
                await work.read()
        assert not works[3].started.is_set()

    within(test, slots=2)


def test_who_reads_late_holds_nobody_up() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        late, other = several(2)
        for work in (late, other):
            work.gate.set()
            scheduler.submit(work.ticket)
        assert len(await other.read()) == 3
        await scheduler.drain(60)
        assert len(await late.read()) == 3

    within(test, slots=2)


# ---------------------------------------------------------------- several slots for one


def wanting(wants: int, name: str = "w") -> Work:
    work = Work(name, steps=True)
    work.ticket.wants = wants
    return work


def test_a_ticket_gets_the_slots_that_are_free() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        big, small, bigger = wanting(3), wanting(1), wanting(9)
        for work in (big, small, bigger):
            scheduler.submit(work.ticket)
        assert [work.ticket.slots for work in (big, small, bigger)] == [3, 1, 1]
        for work in (big, small, bigger):
            work.gate.set()
            await work.read()

    within(test, slots=5)


def test_slots_that_others_leave_are_for_who_waits_then_for_who_wants_more() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        first, second, third = wanting(1), wanting(4), wanting(1)
        for work in (first, second, third):
            scheduler.submit(work.ticket)
        assert (second.ticket.slots, third.ticket.slots) == (1, 0)
        first.gate.set()
        await first.read()
        assert (second.ticket.slots, third.ticket.slots) == (1, 1)
        third.gate.set()
        await third.read()
        assert second.ticket.slots == 2
        second.gate.set()
        await second.read()

    within(test, slots=2)


def test_who_wants_fewer_leaves_some_to_others() -> None:
    async def test(scheduler: Scheduler[str]) -> None:
        first, second = wanting(3), wanting(1)
        scheduler.submit(first.ticket)
        scheduler.submit(second.ticket)
        assert (first.ticket.slots, second.ticket.slots) == (3, 0)
        scheduler.want(first.ticket, 2)
        assert (first.ticket.slots, second.ticket.slots) == (2, 1)
        scheduler.want(first.ticket, 0)
        assert first.ticket.slots == 1
        for work in (first, second):
            work.gate.set()
            await work.read()

    within(test, slots=3)
