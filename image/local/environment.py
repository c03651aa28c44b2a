"""One execution environment: init, invoke, freeze, end."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from typing import Any

from image.local.errors import (
    EntrypointInvalid,
    ExtensionFailed,
    OutOfMemory,
    RuntimeExited,
)
from image.local.exchange import Exchange
from image.local.extensions_api import PREFIX as EXTENSIONS_PREFIX
from image.local.extensions_api import TELEMETRY, ExtensionsApi
from image.local.invocation import Invocation
from image.local.limits import INIT_S, LATEST, MIB, RESTORE_S, RUNTIME_SHARE, SHUTDOWN_INTERNAL_S, SHUTDOWN_S
from image.local.logs import Log
from image.local.network import Network
from image.local.runtime_api import RuntimeApi
from image.local.sandbox import RUNTIME, Sandbox, ending, peak_bytes
from image.local.settings import Settings
from image.local.variables import function_variables
from image.local.wire import Answer, Request, WireServer

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # how a shell says that it couldn't run the entry point


class Environment:
    """Processes behind a Runtime API of their own.

    Args:
        settings: The function.
        sandbox: What runs the processes.
        network: What they are in.
        task_root: Where the code is.
        version: Of the function, which it runs.
        log: Its log stream.

    Attributes:
        from_snapshot: Whether a snapshot comes between its init phase and its first invoke.
    """

    def __init__(
        self, settings: Settings, sandbox: Sandbox, network: Network, task_root: str, version: str, log: Log
    ) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._network = network
        self._task_root = task_root
        self._version = version
        self._log = log
        self._exchange = Exchange()
        self._exchange.snapshot = self.from_snapshot = settings.snapstart and version != LATEST
        self._runtime_api = RuntimeApi(self._exchange, settings.arn)
        self._extensions_api = ExtensionsApi(self._exchange, settings.name, version)
        self._server = WireServer(network.listening, self._answer)
        self._peak_bytes = 0
        self._ending: asyncio.Task[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether it can take an invoke."""
        return not self._exchange.broken

    # ---------------------------------------------------------------- init

    async def init(self, limit_s: float = INIT_S) -> float:
        """Start extensions, then the runtime; return after how many milliseconds all ask for work.

        Raises:
            FunctionError: They don't start.
            TimeoutError: They take too long.
        """
        await self._network.start()
        await self._server.start()
        stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{self._version}]{uuid.uuid4().hex}"
        variables = function_variables(self._settings, self._version, self._network.address, stream, self._task_root)
        self._exchange.launched = await self._sandbox.create(variables, self._log.line, self._process_ended)
        started = time.monotonic()
        await self._exchange.unless_failed(self._launch(), limit_s)
        took_ms = (time.monotonic() - started) * 1e3
        self.note_peak()
        leaders = self._sandbox.leaders()  # Those that are there now must be there after every invoke.
        self._exchange.ending = lambda: ending(leaders)
        if self.from_snapshot:
            self._sandbox.freeze()
        return took_ms

    async def restore(self) -> float:
        """Go on behind the checkpoint; return after how many milliseconds the runtime asks for work.

        Nothing was copied: these are the processes that were initialized.

        Raises:
            FunctionError: What they do after a restore fails.
            TimeoutError: It takes too long.
        """
        started = time.monotonic()
        self._sandbox.thaw()
        await self._exchange.unless_failed(self._exchange.restored(), RESTORE_S)
        return (time.monotonic() - started) * 1e3

    async def _launch(self) -> None:
        self._sandbox.launch_extensions()
        await self._exchange.all_registered()
        self._sandbox.launch_runtime()
        await self._exchange.all_ready()

    async def _answer(self, request: Request) -> Answer:
        if request.path.startswith(EXTENSIONS_PREFIX) or request.path in TELEMETRY:
            return await self._extensions_api.answer(request)
        return await self._runtime_api.answer(request)

    def _process_ended(self, name: str, returncode: int, out_of_memory: bool) -> None:
        if out_of_memory:
            self._exchange.fail(OutOfMemory())
        elif name != RUNTIME:
            self._exchange.fail(ExtensionFailed("Extension.Crash", f"{name} ended with {returncode}"))
        elif returncode in (NOT_FOUND, NOT_EXECUTABLE) and self._exchange.registration_open:
            self._exchange.fail(EntrypointInvalid(f"the entry point cannot be executed (exit status {returncode})"))
        else:
            self._exchange.fail(RuntimeExited(returncode))

    # ---------------------------------------------------------------- invoke

    async def invoke(self, invocation: Invocation, timeout_s: float) -> None:
        """Hand over an invocation; return once the runtime and the extensions are done with it.

        Raises:
            FunctionError: The environment can't be used any more.
            TimeoutError: It took too long.
        """
        if self._settings.freeze:
            self._sandbox.thaw()
        event = {
            "eventType": "INVOKE",
            "deadlineMs": invocation.deadline_ms,
            "requestId": invocation.call.request_id,
            "invokedFunctionArn": invocation.call.target.arn(self._settings.arn),
            "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.call.trace_id},
        }
        self._exchange.deliver(invocation, event)
        try:
            await self._exchange.unless_failed(self._done(invocation), timeout_s)
        finally:
            self.note_peak()
        if self._settings.freeze and not self._exchange.closing:  # What is frozen can't end.
            self._sandbox.freeze()

    async def _done(self, invocation: Invocation) -> None:
        await invocation.done.wait()
        await self._exchange.all_ready()
        await self._exchange.settle()

    def note_peak(self) -> None:
        """Measure what the processes use; of use while they live."""
        self._peak_bytes = max(self._peak_bytes, peak_bytes(self._sandbox.pids()))

    def peak_mb(self) -> int:
        """Return the most memory that was in use, in MB, but never more than there is."""
        self.note_peak()
        return min(math.ceil(self._peak_bytes / MIB), self._settings.memory_mb)

    # ---------------------------------------------------------------- end

    def end(self, reason: str) -> asyncio.Task[None]:
        """End it as Lambda does: SIGTERM, SHUTDOWN events, SIGKILL. Reasons: spindown, timeout, failure."""
        if self._ending is None:
            self._exchange.closing = True
            self._ending = asyncio.get_running_loop().create_task(self._end(reason))
        return self._ending

    async def _end(self, reason: str) -> None:
        self.note_peak()
        self._sandbox.thaw()
        extensions = list(self._exchange.extensions.values())
        if extensions:  # Without any, Lambda spends no time on an end in good order.
            external = any(extension.external for extension in extensions)
            budget_s = SHUTDOWN_S if external else SHUTDOWN_INTERNAL_S
            deadline = time.monotonic() + budget_s
            self._sandbox.terminate_runtime()
            await self._sandbox.runtime_gone(budget_s * RUNTIME_SHARE)
            told = [extension for extension in extensions if "SHUTDOWN" in extension.events]
            for extension in told:
                extension.mail.put_nowait(_shutdown_event(reason, deadline))
            if told:
                await self._sandbox.gone(deadline - time.monotonic())
        await self._sandbox.kill()
        await self._server.close()
        self._network.close()


def _shutdown_event(reason: str, deadline: float) -> dict[str, Any]:
    deadline_ms = int((time.time() + deadline - time.monotonic()) * 1e3)
    return {"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline_ms}
