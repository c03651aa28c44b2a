"""Where the environment meets its runtime and extensions: who is ready, what goes to whom."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from image.local.errors import FunctionError
from image.local.invocation import Invocation

T = TypeVar("T")
DEATH_S = 2.0  # in which a process that has begun to end, or whose connection broke, is gone


@dataclass
class Extension:
    """A registered extension.

    Attributes:
        external: Whether it is a process of its own, which Lambda launched.
        mail: What its next `event/next` answers.
        ready: Whether it waits for an event.
    """

    name: str
    events: frozenset[str]
    external: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    mail: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Exchange:
    """One generation of processes: from their start to their end.

    Attributes:
        launched: Names of the external extensions that Lambda started.
        extensions: Registered ones, by id.
        invocation: The one in flight.
        failed: Holds the first error that ends the environment.
        closing: Whether the environment is being ended, so that nothing counts as a failure any more.
        ending: Tells whether one of the processes has begun to end.
        snapshot: Whether a snapshot is made at the end of the init phase.
    """

    def __init__(self) -> None:
        self.launched: Collection[str] = ()
        self.extensions: dict[str, Extension] = {}
        self.registration_open = True
        self.invocation: Invocation | None = None
        self.failed: asyncio.Future[FunctionError] = asyncio.get_running_loop().create_future()
        self.closing = False
        self.ending: Callable[[], bool] = lambda: False
        self.snapshot = False
        self._restoring: asyncio.Event | None = None  # that the runtime waits for
        self._runtime_ready = asyncio.Event()
        self._registered = asyncio.Event()
        self._deliveries: asyncio.Queue[Invocation] = asyncio.Queue()

    # ---------------------------------------------------------------- the APIs' side

    async def next_invocation(self) -> Invocation:
        """The runtime asks for work, which says that it is done with the last."""
        self._runtime_ready.set()
        return await self._deliveries.get()

    async def next_restore(self) -> bool:
        """The runtime asks for the restore, which says that a snapshot can be made; return whether it may ask now."""
        if not self.snapshot or self._restoring is not None or self._runtime_ready.is_set():
            return False
        self._restoring = asyncio.Event()
        self._runtime_ready.set()
        await self._restoring.wait()
        return True

    def register(self, extension: Extension) -> None:
        """Take in an extension."""
        self.extensions[extension.id] = extension
        self._registered.set()

    async def next_event(self, extension: Extension) -> dict[str, Any]:
        """An extension asks for an event, which says that it is done with the last."""
        extension.ready.set()
        return await extension.mail.get()

    def fail(self, error: FunctionError) -> None:
        """Something happened that ends the environment; the first counts."""
        if not self.closing and not self.failed.done():
            self.failed.set_result(error)

    async def settle(self) -> bool:
        """Wait until the end of a process that has begun to end is known; return whether all is well.

        A response that comes from an adapter may be complete because the server behind it has just died.
        """
        if not self.failed.done() and self.ending():
            await asyncio.wait([self.failed], timeout=DEATH_S)
        return not self.failed.done()

    # ---------------------------------------------------------------- the environment's side

    @property
    def broken(self) -> bool:
        """Whether the environment can't be used any more."""
        return self.closing or self.failed.done()

    async def all_registered(self) -> None:
        """Wait until every launched extension has registered."""
        while not set(self.launched) <= {extension.name for extension in self.extensions.values()}:
            self._registered.clear()
            await self._registered.wait()

    async def all_ready(self) -> None:
        """Wait until the runtime and every extension ask for work."""
        await self._runtime_ready.wait()
        for extension in list(self.extensions.values()):
            await extension.ready.wait()
        self.registration_open = False

    async def restored(self) -> None:
        """Let the runtime go on if it waits for that, and wait until it asks for work."""
        if self._restoring is not None:
            self._runtime_ready.clear()
            self._restoring.set()
        await self._runtime_ready.wait()

    def deliver(self, invocation: Invocation, event: dict[str, Any]) -> None:
        """Give an invocation to the runtime and its event to the extensions that subscribed to it."""
        self.invocation = invocation
        self._runtime_ready.clear()
        self._deliveries.put_nowait(invocation)
        for extension in self.extensions.values():
            if "INVOKE" in extension.events:
                extension.ready.clear()
                extension.mail.put_nowait(event)

    async def unless_failed(self, work: Awaitable[T], timeout_s: float) -> T:
        """Wait for work.

        Raises:
            FunctionError: The environment failed first.
            TimeoutError: It took too long.
        """
        working = asyncio.ensure_future(work)
        either: list[asyncio.Future[Any]] = [working, self.failed]
        try:
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if self.failed.done():
                raise self.failed.result()
            if not working.done():
                raise TimeoutError
            return await working
        finally:
            working.cancel()
