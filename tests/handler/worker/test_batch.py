from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handler.worker.batch import answer_batch
from handler.worker.events import Batch, read_event
from tests.handler.worker.messages import batch, failed, message


class Answers:
    """Takes note of each message and fails the bad ones."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, record: SQSRecord) -> None:
        self.seen.append(record.message_id)
        if "bad" in record.message_id:
            raise RuntimeError("bad")


def answered(*ids: str, groups: str | None = None) -> tuple[list[str], list[str]]:
    messages = [message(id, group=groups and groups[index]) for index, id in enumerate(ids)]
    event, answers = read_event(batch(*messages)), Answers()
    assert isinstance(event, Batch)
    return answers.seen, failed(answer_batch(event, answers))


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
