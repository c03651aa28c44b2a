"""The messages of a batch beside one another; with an engine that steps as the test wants, then with the real one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from handler.engine.memory import Room
from handler.model import Model
from handler.settings import Settings
from handler.start.loading import load_model
from handler.worker.pace import Pace
from handler.worker.results import Bucket, connect
from handler.worker.worker import Worker
from tests.handler.worker.conftest import BUCKET
from tests.handler.worker.messages import batch, failed, message
from tests.handler.worker.stepping import WAIT_S, Notebook, SteppedEngine
from tests.handler.worker.test_worker import context, slow, telemetry
from tests.kernels.models import LIBRARY, needs_library


class Scene:
    """A worker around an engine that steps."""

    def __init__(self, slots: int = 4, room: Room | None = None, pace: Pace | None = None) -> None:
        self.engine = SteppedEngine()
        self.results = Notebook(self.engine)
        self._worker = Worker(self.engine.model(slots, room), self.results, telemetry(), margin_s=0, pace=pace)

    def answer(self, *messages: dict[str, Any], left_s: float = 60) -> list[str]:
        """The ids of the messages that come back."""
        return failed(self._worker.handle(batch(*messages), context(left_s)))


def asked(id: str, prompt: str | None = None, max_tokens: int = 100, group: str | None = None) -> dict[str, Any]:
    return message(id, {"prompt": prompt or id, "max_tokens": max_tokens}, group=group)


def test_as_many_at_a_time_as_the_model_has_slots() -> None:
    scene = Scene(slots=4)
    ids = [f"message-{n}" for n in range(10)]
    assert scene.answer(*map(asked, ids)) == []
    assert scene.engine.most == 4
    assert {key: result["text"] for key, result in scene.results.results.items()} == {id: id for id in ids}


def test_one_prompt_is_read_at_a_time() -> None:
    scene = Scene(slots=4)
    scene.answer(*(asked(f"message-{n}") for n in range(6)))
    assert scene.engine.reading == [1] * 6


def test_a_result_is_kept_while_others_are_still_made() -> None:
    scene = Scene(slots=2)
    assert scene.answer(asked("long" * 20), asked("short"), asked("third"), asked("late")) == []
    kept = dict(scene.results.kept)
    assert "late" not in kept["short"]
    assert next(iter(kept)) == "short"


def test_keeping_a_result_holds_nobody_up() -> None:
    scene = Scene(slots=2)

    def until_the_other_is_done(key: str) -> None:
        ends = time.monotonic() + WAIT_S
        while key == "short" and "long" * 20 not in scene.engine.ended:
            assert time.monotonic() < ends
            time.sleep(0.001)

    scene.results.on_keep = until_the_other_is_done
    assert scene.answer(asked("short"), asked("long" * 20)) == []
    assert len(scene.results.results) == 2


def test_a_result_that_cannot_be_kept_fails_its_message_alone() -> None:
    scene = Scene(slots=3)

    def refuse(key: str) -> None:
        if key == "b":
            raise RuntimeError("no room")

    scene.results.on_keep = refuse
    assert scene.answer(asked("a"), asked("b"), asked("c")) == ["b"]


def test_in_a_fifo_group_the_next_begins_when_the_one_before_is_kept() -> None:
    scene = Scene(slots=4)
    assert scene.answer(*(asked(id, group=id[0]) for id in ("x1", "x2", "y1", "x3"))) == []
    begun = dict(scene.results.kept)
    assert "x2" not in begun["x1"]
    assert "x3" not in begun["x2"]
    assert scene.engine.most == 2


def test_in_a_fifo_group_nothing_begins_behind_a_failure() -> None:
    scene = Scene(slots=4)
    messages = [asked("x1", group="x"), asked("x-fail", group="x"), asked("y1", group="y"), asked("x3", group="x")]
    assert scene.answer(*messages) == ["x-fail", "x3"]
    assert sorted(scene.engine.begun) == ["x-fail", "x1", "y1"]


def test_two_of_one_key_are_generated_once_though_both_could_begin() -> None:
    scene = Scene(slots=4)
    same = {"prompt": "the same", "idempotency_key": "a"}
    assert scene.answer(message("m1", same), message("m2", same), asked("m3")) == []
    assert sorted(scene.engine.begun) == ["m3", "the same"]
    assert scene.results.asked.count("a") == 2


def test_the_second_of_a_key_is_tried_when_the_first_fails() -> None:
    scene = Scene(slots=4)
    first, second = ({"prompt": prompt, "idempotency_key": "a"} for prompt in ("fail", "good"))
    assert scene.answer(message("m1", first), message("m2", second)) == ["m1"]
    assert scene.results.results["a"]["text"] == "good"


def test_an_answer_that_breaks_fails_alone() -> None:
    scene = Scene(slots=4)
    poison = message("p1", "\x00")
    assert scene.answer(asked("a"), asked("fail"), poison, asked("b"), asked("c")) == ["fail", "p1"]
    assert set(scene.results.results) == {"a", "b", "c"}


def test_at_the_deadline_what_is_done_stays_and_the_rest_comes_back() -> None:
    scene = Scene(slots=3)
    ids = ["hold-1", "short-1", "hold-2", "short-2", "hold-3", "never"]
    assert scene.answer(*map(asked, ids), left_s=1) == ["hold-1", "hold-2", "hold-3", "never"]
    assert set(scene.results.results) == {"short-1", "short-2"}
    assert "never" not in scene.engine.begun


def test_without_time_for_two_at_once_they_go_one_after_the_other() -> None:
    scene = Scene(slots=2, pace=slow())
    # Alone each takes 17 s by the pace, and both at once make all of them slower than the 20 s that there are.
    assert scene.answer(asked("a", max_tokens=15), asked("b", max_tokens=15), left_s=20) == []
    assert scene.engine.most == 1


def test_one_that_is_late_anyway_is_not_waited_for() -> None:
    scene = Scene(slots=2, pace=slow())
    assert scene.answer(asked("long" * 20), asked("no" * 20), asked("b", max_tokens=1), left_s=20) == ["no" * 20]
    assert scene.engine.most == 2
    assert scene.engine.ended == ["b", "long" * 20]


def test_without_memory_for_two_at_once_they_go_one_after_the_other() -> None:
    scene = Scene(slots=2, room=Room(slots=2, tokens=100, kept=25))
    assert scene.answer(asked("a", max_tokens=60), asked("b", max_tokens=60)) == []
    assert scene.engine.most == 1


def test_a_small_one_has_memory_beside_a_large_one() -> None:
    scene = Scene(slots=2, room=Room(slots=2, tokens=100, kept=25))
    assert scene.answer(asked("a" * 10, max_tokens=60), asked("b" * 10, max_tokens=10)) == []
    assert scene.engine.most == 2


def test_one_that_has_no_memory_at_all_is_tried_alone() -> None:
    scene = Scene(slots=2, room=Room(slots=2, tokens=10, kept=2))
    assert scene.answer(asked("a", max_tokens=60), asked("b", max_tokens=60)) == []
    assert scene.engine.most == 1


# ---------------------------------------------------------------- the real engine

TOPICS = ("a fox", "a cold start", "bricks", "the sea", "an oven", "a queue", "two cats", "rain")


@pytest.fixture(scope="module")
def model(native: Path) -> Model:
    """One that reads every prompt from its beginning: only then an answer's bits are the same whatever was before."""
    return load_model(Settings(native, slots=4, kernels=LIBRARY, prefix_cache=False), 2, memory=2**33)[0]


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return connect(BUCKET, "us-east-1")


def about(topic: str, tokens: int = 40) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"Tell me a story about {topic}."}], "max_tokens": tokens}


@needs_library
def test_a_batch_has_the_texts_of_one_by_one(model: Model, bucket: Bucket) -> None:
    worker = Worker(model, bucket, telemetry(), margin_s=0)
    alone = [worker.handle(about(topic), context())["text"] for topic in TOPICS]
    poison = [message("p1", "\x00"), message("p2", {"prompt": [10**6]})]
    messages = [message(f"m{n}", about(topic)) for n, topic in enumerate(TOPICS)]
    answer = worker.handle(batch(*messages[:3], poison[0], *messages[3:], poison[1]), context())
    assert failed(answer) == ["p1", "p2"]
    assert [_read(bucket, f"m{n}")["text"] for n in range(len(TOPICS))] == alone
    assert len(set(alone)) > 4


@needs_library
def test_messages_that_begin_alike_share_the_beginning_while_they_run(native: Path, bucket: Bucket) -> None:
    model, _ = load_model(Settings(native, kernels=LIBRARY), 2, memory=2**33)
    assert model.slots == 8
    worker = Worker(model, bucket, telemetry(), margin_s=0)
    common = "Here is what nobody has told so far. " * 5
    messages = [message(f"m{n}", {"prompt": f"{common} {n}", "max_tokens": 60}) for n in range(4)]
    assert failed(worker.handle(batch(*messages), context())) == []
    usages = [_read(bucket, f"m{n}")["usage"] for n in range(4)]
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    assert sum(tokens > 0 for tokens in cached) == 3
    assert max(cached) > usages[0]["prompt_tokens"] / 2


@needs_library
def test_the_deadline_gives_back_what_the_engine_has_not_done(model: Model, bucket: Bucket) -> None:
    worker = Worker(model, bucket, telemetry(), margin_s=0)
    bias = {str(id): -100 for id in model.stop_ids}
    long = about("everything", 900) | {"logit_bias": bias}
    messages = [message("short", about("a fox", 4)), *(message(f"long{n}", long) for n in range(60))]
    back = failed(worker.handle(batch(*messages), context(1.5)))
    assert "long59" in back
    kept = {record["messageId"] for record in messages if bucket.has(record["messageId"])}
    assert kept == {record["messageId"] for record in messages} - set(back)
    assert all(_read(bucket, id)["usage"]["completion_tokens"] == 900 for id in kept - {"short"})


def _read(bucket: Bucket, key: str) -> Any:
    result = bucket.read(key)
    assert result is not None
    return result
