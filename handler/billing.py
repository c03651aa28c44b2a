"""What Lambda bills for the time of this environment, shared out among the answers that it makes.

Lambda bills an invocation's duration, rounded up to a millisecond, and with an environment's first invocation its init
phase: https://aws.amazon.com/lambda/pricing/.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from handler.prices import ON_DEMAND, PROVISIONED, SNAP_START, Rates, lambda_rates
from handler.settings import Settings


@dataclass(frozen=True)
class Environment:
    """What is known of the execution environment.

    Attributes:
        memory_gb: The function's.
        region: Where it is; None if that isn't known.
        initialization: AWS_LAMBDA_INITIALIZATION_TYPE.
    """

    memory_gb: float
    region: str | None
    initialization: str = ON_DEMAND


class Share:
    """What one answer has of an invocation; made by `Bill.share`."""

    def __init__(self, bill: Bill) -> None:
        self._bill = bill
        self.seconds = 0.0
        self.requests = 0  # 1 for the first answer of an invocation
        self.init_ms: float | None = None  # of the first answer of an environment
        self.restored = False
        self.restore_ms: float | None = None  # of the first answer of a restored environment
        self.billed_ms: int | None = None  # once it has ended

    def start(self) -> None:
        """The answer is worked on from now on."""
        self._bill.start(self)

    def end(self) -> None:
        """The answer is done; whatever comes now is others'."""
        self._bill.end(self)

    def members(self) -> dict[str, float | int | None]:
        """What timings have of it, up to now or to its end; null where it isn't known."""
        return self._bill.members(self)


class Bill:
    """Shares an environment's time out.

    Of a moment in which several answers are worked on, each has an equal part. A moment in which none is belongs to the
    one that begins next, and so does all that comes before an invocation's first answer. The invocation's request is
    the first answer's; the init phase, or a snapshot's restore, the environment's first answer's. So the answers of an
    invocation cost together what the invocation has cost until the last one's end, rounded up once.

    Args:
        environment: What is billed; None where nothing is, as outside of Lambda.
        clock: Seconds.
    """

    def __init__(self, environment: Environment | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        kinds = (ON_DEMAND, PROVISIONED, SNAP_START)
        # Of others, such as managed instances, the duration isn't what is billed.
        self._environment = environment if environment and environment.initialization in kinds else None
        self._clock = clock
        self._rates = None if self._environment is None else _rates(self._environment)
        self._lock = Lock()
        self._first = True
        self._init_ms: float | None = None
        self._restore_ms: float | None = None
        self._present = 0
        self._open: list[Share] = []
        self._at = self._nobodys_s = self._ended_s = 0.0
        self._requests = self._told_ms = 0
        self._begin(0.0)

    def initialized(self, init_ms: float) -> None:
        """Take note of how long the init phase was; only on demand is it part of the first invocation's duration."""
        if self._environment is not None and self._environment.initialization == ON_DEMAND:
            self._init_ms = init_ms

    def restored(self, took_ms: float) -> None:
        """Take note of a restore from a snapshot: what runs after it is billed as duration, with the next answer's.

        Lambda bills the code of runtime hooks: https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html.

        Args:
            took_ms: What ran, in milliseconds.
        """
        with self._lock:
            self._first = True
            self._restore_ms = took_ms

    @contextmanager
    def invocation(self, began_at: float | None = None) -> Iterator[None]:
        """Count time from here to the end as billed; one inside another is part of it.

        Args:
            began_at: Seconds of the clock; now if there are none.
        """
        with self._lock:
            if not self._present:
                self._open.clear()
                self._begin(self._clock() if began_at is None else began_at)
            self._present += 1
        try:
            yield
        finally:
            with self._lock:
                self._present -= 1

    def share(self) -> Share:
        """A share that has nothing yet."""
        return Share(self)

    def start(self, share: Share) -> None:
        """See `Share.start`; outside of any invocation it is one of its own."""
        with self._lock:
            if not self._present and not self._open:
                self._begin(self._clock())
            self._advance()
            share.seconds, self._nobodys_s = self._nobodys_s, 0.0
            share.requests, self._requests = self._requests, 0
            if self._first:
                self._first = False
                share.init_ms = self._init_ms
                share.restore_ms = self._restore_ms
                share.seconds += ((self._init_ms or 0.0) + (self._restore_ms or 0.0)) / 1e3
                share.restored = self._environment is not None and self._environment.initialization == SNAP_START
            self._open.append(share)

    def end(self, share: Share) -> None:
        """See `Share.end`; a second time does nothing."""
        with self._lock:
            if share not in self._open:
                return
            self._advance()
            self._open.remove(share)
            share.billed_ms = self._milliseconds(share)
            self._ended_s += share.seconds
            self._told_ms += share.billed_ms

    def members(self, share: Share) -> dict[str, float | int | None]:
        """See `Share.members`."""
        if self._environment is None:
            return {"billed_ms": None, "estimated_cost_usd": None}
        with self._lock:
            if share.billed_ms is None:
                self._advance()
            billed_ms = self._milliseconds(share) if share.billed_ms is None else share.billed_ms
        return {
            "billed_ms": billed_ms,
            **({} if share.init_ms is None else {"init_ms": share.init_ms}),
            **({} if share.restore_ms is None else {"restore_ms": share.restore_ms}),
            "estimated_cost_usd": self._usd(share, billed_ms),
        }

    def _begin(self, at: float) -> None:
        self._at = at  # until when all is shared out
        self._nobodys_s = 0.0  # that the next one gets
        self._requests = 1  # until an answer has it
        self._ended_s, self._told_ms = 0.0, 0  # of shares that have ended: what they had, and what they were told

    def _advance(self) -> None:
        now = self._clock()
        passed, self._at = max(0.0, now - self._at), max(now, self._at)
        if not self._open:
            self._nobodys_s += passed
        for share in self._open:
            share.seconds += passed / len(self._open)

    def _milliseconds(self, share: Share) -> int:
        """Round the invocation up and not its shares: each has what its end adds to the whole."""
        whole = (self._ended_s + share.seconds) * 1e3
        return max(0, math.ceil(round(whole, 6)) - self._told_ms)

    def _usd(self, share: Share, billed_ms: int) -> float | None:
        if self._rates is None or self._environment is None:
            return None
        memory_gb = self._environment.memory_gb
        duration = billed_ms / 1e3 * memory_gb * self._rates.gb_second
        restored = memory_gb * self._rates.restored_gb if share.restored else 0.0
        return round(duration + share.requests * self._rates.request + restored, 12)


def _rates(environment: Environment) -> Rates | None:
    return lambda_rates(environment.region, initialization=environment.initialization)


def make_bill(settings: Settings) -> Bill:
    """Make the bill of the environment that the settings tell of."""
    if settings.function_memory_mb is None:
        return Bill()
    memory_gb = settings.function_memory_mb / 1024
    return Bill(Environment(memory_gb, settings.region, settings.initialization or ON_DEMAND))
