"""A plan's parts: answered side by side, each kept when it is done, and put together level by level."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from handler.api.chat import ChatRequest
from handler.turns import side_by_side
from handler.worker.documents.objects import Objects
from handler.worker.documents.plan import Part, Plan, pack
from handler.worker.jobs import Job
from handler.worker.results import Result
from handler.worker.work import Work

T = TypeVar("T")


@dataclass(frozen=True)
class Answered:
    """A record's answers.

    Attributes:
        last: What stands in the end: one that was put together, or one a part.
        all: With those that it was made of.
        levels: How often answers were put together.
    """

    last: tuple[Result, ...]
    all: tuple[Result, ...]
    levels: int


class Parts:
    """Works through one plan.

    Args:
        work: What answers.
        objects: Where answers are kept, and found that were kept before.
        plan: Which parts.
        job_id: Of the message.
        sent_at: When it was put into its queue, in Unix seconds.
        news: Gets the name of each answer that is new, and will be found the next time.
    """

    def __init__(
        self, work: Work, objects: Objects, plan: Plan, job_id: str, sent_at: float | None, news: list[str]
    ) -> None:
        self._work = work
        self._objects = objects
        self._plan = plan
        self._job_id = job_id
        self._sent_at = sent_at
        self._known: Mapping[str, Result | None] = {}
        self._error: Exception | None = None
        self._news = news

    def answers(self) -> Generator[None, None, list[Answered]]:
        """Answer what isn't answered yet, and give what each record has.

        Raises:
            NotEnoughTime: Some parts have no answer before the deadline; those that have are kept.
            ApiError: A part is refused, or S3 doesn't keep its answer.
        """
        if not self._plan.single:
            yield from self._begin()
        records = [partial(self._record, index) for index in range(len(self._plan.parts))]
        return (yield from self._together(records))

    def _begin(self) -> Generator[None, None, None]:
        """Write the plan down, or find what was answered by it."""
        work, objects, id = self._work, self._objects, self._plan.id
        if (yield from work.elsewhere(lambda: objects.keep_plan(self._plan))):
            return
        names = yield from work.elsewhere(lambda: objects.parts(id))
        results = yield from work.all_elsewhere([partial(objects.part, id, name) for name in names])
        self._known = dict(zip(names, results, strict=True))

    def _record(self, index: int) -> Generator[None, None, Answered]:
        asking = self._plan.asking
        requests = [asking.about(self._text(part), part.max_tokens) for part in self._plan.parts[index]]
        made = last = yield from self._level(index, 0, requests)
        level = 0
        while len(last) > 1 and asking.combine == "model":
            level += 1
            texts = [str(result["text"]) for result in last]
            groups = pack(texts, self._plan, self._work.model)
            combining = [
                asking.combining([texts[number] for number in group], self._plan.combined_tokens)
                for group in groups
                if len(group) > 1
            ]
            new = yield from self._level(index, level, combining)
            combined = iter(new)  # One that is left over goes up as it is.
            last = [next(combined) if len(group) > 1 else last[group.start] for group in groups]
            made = [*made, *new]
        return Answered(tuple(last), tuple(made), level)

    def _text(self, part: Part) -> str:
        return self._plan.document.text[part.begin : part.end]

    def _level(self, record: int, level: int, requests: Sequence[ChatRequest]) -> Generator[None, None, list[Result]]:
        names = [f"{record:06d}-{level}-{number:06d}" for number in range(len(requests))]
        works = [partial(self._answer, name, request) for name, request in zip(names, requests, strict=True)]
        return (yield from self._together(works))

    def _answer(self, name: str, request: ChatRequest) -> Generator[None, None, Result]:
        known = self._known.get(name)
        if known is not None:
            return known
        sent_at, self._sent_at = self._sent_at, None  # Only the first of them has waited in the queue.
        job = Job(f"{self._job_id}-{name}", "s3", request, self._plan.source.name, sent_at)
        result = yield from self._work.whole(job)
        if self._plan.single:
            return result
        plan_id = self._plan.id
        standing = yield from self._work.elsewhere(lambda: self._objects.keep_part(plan_id, name, result))
        self._news.append(name)
        return standing

    def _together(self, works: Sequence[Callable[[], Generator[None, None, T]]]) -> Generator[None, None, list[T]]:
        """Do several things side by side. After an error nothing more begins, but what has begun comes to its end."""
        done: dict[int, T] = {}

        def chain(index: int, work: Callable[[], Generator[None, None, T]]) -> Generator[None, None, None]:
            if self._error is None:
                try:
                    done[index] = yield from work()
                except Exception as error:
                    self._error = self._error or error

        chains = [(index, partial(chain, index, work)) for index, work in enumerate(works)]
        waits: Generator[tuple[int, None] | None, None, None] = side_by_side(chains, lambda: self._work.model.slots)
        with closing(waits):
            for _ in waits:
                yield
        if self._error is not None:
            raise self._error
        return [done[index] for index in range(len(works))]
