"""What one environment goes through from invoke to invoke: Lambda's rules for init, time-outs and failures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from image.local.environment import Environment
from image.local.errors import FunctionError, InitTimedOut, OutOfMemory, RestoreTimedOut, SandboxFailed, TimedOut
from image.local.invocation import Invocation
from image.local.limits import INIT_S, LATEST, SNAPSHOT_INIT_S
from image.local.logs import Log, Usage
from image.local.settings import Settings


@dataclass(frozen=True)
class Began:
    """How an environment began, in milliseconds; neither if it was there, or began within the invoke."""

    init_ms: float | None = None
    restore_ms: float | None = None


class Slot:
    """A place for one environment; it is made at the first invoke.

    Args:
        settings: The function.
        version: The version of it that runs here.
        make: Makes an environment of a version; raises FunctionError where that can't be.
        log: The slot's log stream.
    """

    def __init__(self, settings: Settings, version: str, make: Callable[[str, Log], Environment], log: Log) -> None:
        self.version = version
        self._settings = settings
        self._make = make
        self._log = log
        self._environment: Environment | None = None
        self._inited = False  # whether the last init went well
        self._ended = False

    @property
    def _snapshot(self) -> bool:
        return self._settings.snapstart and self.version != LATEST

    @property
    def usable(self) -> bool:
        """Whether it can take another invoke."""
        return not self._ended and (self._environment is None or self._environment.usable)

    async def serve(self, invocation: Invocation) -> None:
        """Take one invoke from START to REPORT."""
        began = Began() if self._environment else await self._init_phase()
        started = time.monotonic()
        invocation.deadline_ms = int((time.time() + self._settings.timeout_s) * 1e3)
        self._log.start(invocation.call.request_id, invocation.call.target.version)
        error = await self._attempt(invocation, started + self._settings.timeout_s)
        duration_ms = (time.monotonic() - started) * 1e3
        ending = self._fail(invocation, error) if error else None
        peak_mb = self._environment.peak_mb() if self._environment else 0
        if isinstance(error, OutOfMemory):  # Who used it can't be asked any more.
            peak_mb = self._settings.memory_mb
        usage = Usage(duration_ms, began.init_ms, self._settings.memory_mb, peak_mb, began.restore_ms)
        self._log.report(invocation.call.request_id, usage, error)
        invocation.log_tail = self._log.take_tail()
        invocation.finished.set()
        if ending:
            await ending

    async def _init_phase(self) -> Began:
        """Start an environment before the invoke; what fails here is tried again within it."""
        started = time.monotonic()
        self._log.take_tail()
        try:
            return await self._start(max(SNAPSHOT_INIT_S, self._settings.timeout_s) if self._snapshot else INIT_S)
        except TimeoutError:
            error: FunctionError = InitTimedOut()
        except FunctionError as failure:
            error = failure
        self._init_failed(started, "init", error)
        await self._discard("timeout" if isinstance(error, InitTimedOut) else "failure")
        return Began()

    async def _attempt(self, invocation: Invocation, deadline: float) -> FunctionError | None:
        try:
            if self._environment is None:
                await self._init_again(deadline)
            assert self._environment is not None
            await self._environment.invoke(invocation, deadline - time.monotonic())
        except TimeoutError:
            return TimedOut(self._settings.timeout_s)
        except FunctionError as error:
            return error
        return None

    async def _init_again(self, deadline: float) -> None:
        started = time.monotonic()
        try:
            await self._start(deadline - started)
        except (FunctionError, TimeoutError) as failure:
            error = failure if isinstance(failure, FunctionError) else InitTimedOut()
            self._init_failed(started, "invoke", error)
            raise

    def _init_failed(self, started: float, phase: str, error: FunctionError) -> None:
        if not self._inited:  # or it was the restore, which has its own line
            self._log.init_report((time.monotonic() - started) * 1e3, phase, error)

    async def _start(self, limit_s: float) -> Began:
        self._inited = False
        self._environment = self._make(self.version, self._log)
        init_ms = await self._environment.init(limit_s)
        self._inited = True
        if not self._environment.from_snapshot:
            return Began(init_ms)
        self._log.init_report(init_ms, "init", None)
        return Began(restore_ms=await self._restore(self._environment))

    async def _restore(self, environment: Environment) -> float:
        started = time.monotonic()
        try:
            restore_ms = await environment.restore()
        except (FunctionError, TimeoutError) as failure:
            error = failure if isinstance(failure, FunctionError) else RestoreTimedOut()
            self._log.restore_report((time.monotonic() - started) * 1e3, error)
            raise error from None
        self._log.restore_report(restore_ms, None)
        return restore_ms

    def _fail(self, invocation: Invocation, error: FunctionError) -> asyncio.Task[None]:
        """Answer first, clean up after: the next invoke needn't wait for the shutdown."""
        self._ended = True
        if self._environment is not None:
            self._environment.note_peak()
        invocation.fail(error)
        if isinstance(error, TimedOut):
            self._log.timed_out(invocation.call.request_id, error)
        else:
            self._log.failed(invocation.call.request_id, error)
        reason = "timeout" if isinstance(error, TimedOut) else "failure"
        return asyncio.get_running_loop().create_task(self._discard(reason, keep=True))

    async def _discard(self, reason: str, keep: bool = False) -> None:
        if self._environment is not None:
            await self._environment.end(reason)
            if not keep:
                self._environment = None

    async def end(self, invocation: Invocation | None) -> None:
        """End the environment in good order, with the invoke that is in flight, if any."""
        self._ended = True
        if invocation is not None:
            invocation.fail(SandboxFailed("the local Lambda was stopped"))
        await self._discard("spindown", keep=True)
