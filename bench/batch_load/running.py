"""One run: all documents through bucket, queue and worker, with faults or without."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.batch_load.account import INPUT, RESULTS, Account, Limits, opened
from bench.batch_load.documents import Document
from bench.batch_load.function import Function, started
from bench.batch_load.storage import Storage, storage

SAMPLE_S = 0.5
PREFIX, FAILED = "results/documents/", "failed/documents/"
# Of a result, what is said; the rest tells when and how long.
SAID = ("text", "answers", "finish_reason")


@dataclass(frozen=True)
class Plan:
    """How a run goes.

    Attributes:
        model_dir: what answers.
        environments: of the function, at most.
        batch_size: messages of an invoke.
        batches: at a time; those above `environments` are throttled.
        memory_mb: of the function.
        timeout_s: of an invoke.
        limits: of the queue.
        kills: how many processes are killed, spread over the first three quarters of the results.
        refused: the part of S3's calls that get a 503.
        cut: the part of S3's calls whose answer is lost.
        doubled: S3 tells of every so many-th document twice; 0 for none.
        prefix_cache: whether prompts use what the cache holds of their beginnings: rows of a prompt that are read in
            other groups differ in the last bits, so that one of thousands of answers may be another in another run.
        patience_s: for the whole run.
    """

    model_dir: Path
    environments: int
    batch_size: int
    batches: int
    memory_mb: int
    timeout_s: int
    limits: Limits
    kills: int = 0
    refused: float = 0.0
    cut: float = 0.0
    doubled: int = 0
    prefix_cache: bool = False
    patience_s: float = 3600.0


@dataclass
class Sample:
    """A moment of a run: seconds since its beginning, and what there was."""

    at_s: float
    results: int
    waiting: int
    dead: int


@dataclass
class Outcome:
    """What has become of the documents.

    Attributes:
        results: by the document's key, what was said.
        written: how often each result was written, by the document's key.
        dead: keys of the documents in the dead-letter queue.
        reasons: code by key, of those whose reason was kept.
    """

    seconds: float
    samples: list[Sample]
    killed_at_s: list[float]
    throttled_at_s: list[float]
    results: dict[str, Any] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def answered_s(self) -> float:
        """When the last result was there; what is given up takes longer, by the queue's visibility time-out."""
        most = max((sample.results for sample in self.samples), default=0)
        return next((sample.at_s for sample in self.samples if sample.results == most), self.seconds)


def run(documents: Sequence[Document], plan: Plan) -> Outcome:
    """Put all documents, and wait until each has a result or was given up.

    Raises:
        SystemExit: it takes longer than `patience_s`, or the function has ended.
    """
    with opened(plan.limits) as account, storage(account.url, plan.refused, plan.cut) as (s3_url, behind):
        account.put(documents, plan.doubled)
        began = time.monotonic()
        with _function(account, s3_url, plan) as function:
            samples = _follow(account, behind, function, len(documents), plan, began)
            seconds = samples[-1].at_s
        return _outcome(account, behind, function, seconds, samples, began)


@contextmanager
def _function(account: Account, s3_url: str, plan: Plan) -> Iterator[Function]:
    environ = {
        "AWS_ENDPOINT_URL_S3": s3_url,
        "AWS_ENDPOINT_URL_SQS": account.url,
        "FIREBRICK_MODEL_DIR": str(plan.model_dir.resolve()),
        "FIREBRICK_VERIFY": "quick",
        "FIREBRICK_PREFIX_CACHE": str(int(plan.prefix_cache)),
        "FIREBRICK_INPUT_BUCKET": INPUT,
        "FIREBRICK_RESULTS_BUCKET": RESULTS,
        "OMP_NUM_THREADS": "1",
    }
    options = {
        "--concurrency": plan.environments,
        "--queue-concurrency": plan.batches,
        "--batch-size": plan.batch_size,
        "--memory": plan.memory_mb,
        "--timeout": plan.timeout_s,
        "--network": "host",
        "--queue": account.queue_url,
    }
    with started(environ, *(str(word) for pair in options.items() for word in pair)) as function:
        yield function


def _follow(
    account: Account, behind: Storage, function: Function, count: int, plan: Plan, began: float
) -> list[Sample]:
    """Look on, and kill; gives a sample for every moment."""
    samples: list[Sample] = []
    killed = 0
    while True:
        # To ask S3 for all results each time would be most of its work.
        results = sum(path.startswith(f"/{RESULTS}/{PREFIX}") for path in behind.written.copy())
        waiting, dead = account.left()
        samples.append(Sample(round(time.monotonic() - began, 2), results, waiting, dead))
        if not waiting and results + dead >= count:
            return samples
        if not function.running() or samples[-1].at_s > plan.patience_s:
            print("".join(function.tail), file=sys.stderr)
            raise SystemExit(f"error: {count - results - dead} documents are open after {samples[-1].at_s:.0f} s")
        while killed < plan.kills and results >= (killed + 1) * 0.75 * count / (plan.kills + 1):
            if not function.kill(killed):
                break
            killed += 1
        time.sleep(SAMPLE_S)


def _outcome(
    account: Account, behind: Storage, function: Function, seconds: float, samples: list[Sample], began: float
) -> Outcome:
    outcome = Outcome(
        seconds,
        samples,
        [at - began for at in function.killed_at],
        [at - began for at in function.throttled_at],
    )
    for name, times in account.versions(PREFIX).items():
        key = "documents/" + name.removeprefix(PREFIX).rpartition("/")[0]
        result = account.read(name)
        outcome.results[key] = {member: result[member] for member in SAID if member in result}
        outcome.written[key] = outcome.written.get(key, 0) + times
    outcome.dead = sorted(account.dead())
    for name in account.versions(FAILED):
        key = "documents/" + name.removeprefix(FAILED).rpartition("/")[0]
        outcome.reasons[key] = account.read(name)["error"]["code"]
    outcome.figures = {
        "seconds": round(seconds, 1),
        "kills": len(function.killed_at),
        "throttled": len(function.throttled_at),
        "s3_calls": dict(behind.counts),
        "s3_faults": dict(behind.faults),
        "events": dict(function.events),
        "errors": dict(function.errors),
        "invocations": function.invocations,
        "gb_seconds": round(function.gb_seconds, 1),
    }
    return outcome
