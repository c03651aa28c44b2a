"""What comes back, and who may be answered beside whom."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handler.worker.batch import answer_batch
from handler.worker.events import Batch, read_event
from tests.handler.worker.messages import batch, failed, message


class Answers:
    """Takes note of each message, takes as many steps as its id is long, and fails the bad ones."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.ended: list[str] = []
        self.told: list[str] = []
        self.most = self.steps = 0

    def answer(self, record: SQSRecord) -> Generator[None, None, None]:
        self.seen.append(record.message_id)
        for _ in record.message_id:
            self.most = max(self.most, len(self.seen) - len(self.ended))
            yield
        self.ended.append(record.message_id)
        if "bad" in record.message_id:
            raise RuntimeError("bad")

    def step(self) -> None:
        self.steps += 1

    def failed(self, record: SQSRecord, error: Exception) -> None:
        self.told.append(record.message_id)


def answer(*ids: str, groups: str | None = None, slots: int = 1) -> tuple[Answers, list[str]]:
    messages = [message(id, group=groups and groups[index]) for index, id in enumerate(ids)]
    event, answers = read_event(batch(*messages)), Answers()
    assert isinstance(event, Batch)
    return answers, failed(answer_batch(event, answers, slots))


def answered(*ids: str, groups: str | None = None, slots: int = 1) -> tuple[list[str], list[str]]:
    answers, back = answer(*ids, groups=groups, slots=slots)
    return answers.seen, back


def test_only_the_failed_come_back() -> None:
    assert answered("a", "bad1", "c") == (["a", "bad1", "c"], ["bad1"])


def test_none_failed_is_an_empty_list() -> None:
    assert answered("a", "b") == (["a", "b"], [])


def test_all_failed_is_no_error_of_the_function() -> None:
    assert answered("bad1", "bad2")[1] == ["bad1", "bad2"]
    assert answered("bad1", groups="x")[1] == ["bad1"]


def test_in_a_fifo_queue_a_group_stops_at_its_first_failure() -> None:
    seen, back = answered("a", "bad1", "b", "c", groups="xxyx")
    assert (seen, back) == (["a", "bad1", "b"], ["bad1", "c"])


def test_the_next_batch_begins_anew() -> None:
    answered("bad1", groups="x")
    assert answered("a", groups="x") == (["a"], [])


@pytest.mark.parametrize(("slots", "most"), [(1, 1), (3, 3), (8, 5)])
def test_as_many_at_a_time_as_there_are_slots(slots: int, most: int) -> None:
    answers, back = answer("a1", "a2", "a3", "a4", "a5", slots=slots)
    assert (answers.most, back) == (most, [])


def test_a_place_is_taken_again_as_soon_as_it_is_free() -> None:
    answers, _ = answer("long-long-long", "a", "b", "c", slots=2)
    assert answers.ended == ["a", "b", "c", "long-long-long"]


def test_what_failed_comes_back_in_the_batchs_order() -> None:
    answers, back = answer("bad-long", "bad", "c", slots=3)
    assert (answers.told, back) == (["bad", "bad-long"], ["bad-long", "bad"])


def test_two_messages_with_one_id_are_two() -> None:
    assert answered("bad", "bad", "a", slots=2) == (["bad", "bad", "a"], ["bad", "bad"])


def test_a_fifo_group_has_one_on_its_way_and_groups_go_side_by_side() -> None:
    answers, back = answer("x1-long", "x2", "y1", "y2", groups="xxyy", slots=4)
    assert (answers.seen, answers.most, back) == (["x1-long", "y1", "y2", "x2"], 2, [])
    assert answers.ended == ["y1", "y2", "x1-long", "x2"]


def test_of_a_group_that_stops_only_the_failed_one_has_a_reason() -> None:
    answers, back = answer("x-bad", "y", "x2", "y2", groups="xyxy", slots=4)
    assert (answers.told, back) == (["x-bad"], ["x-bad", "x2"])


def test_groups_mean_nothing_in_a_queue_that_is_not_fifo() -> None:
    messages = [message(id) for id in ("a", "bad", "c")]
    for one in messages:
        one["attributes"]["MessageGroupId"] = "tenant"  # as in a fair queue
    event, answers = read_event(batch(*messages)), Answers()
    assert isinstance(event, Batch)
    assert failed(answer_batch(event, answers, 3)) == ["bad"]
    assert answers.most == 3


def test_a_step_that_fails_fails_all_that_wait_for_it() -> None:
    class Broken(Answers):
        def step(self) -> None:
            self.steps += 1
            if self.steps == 2:
                raise RuntimeError("broken")

    event, answers = read_event(batch(message("a-long"), message("b-long"), message("c"))), Broken()
    assert isinstance(event, Batch)
    assert failed(answer_batch(event, answers, 2)) == ["a-long", "b-long"]
    assert answers.ended == ["c"]
