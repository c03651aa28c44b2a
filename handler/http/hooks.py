"""SnapStart's hooks as the Web Adapter calls them: two paths of the server that nobody outside can reach.

https://aws.github.io/aws-lambda-web-adapter/features/snapstart.html
"""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from handler.invocation import LAMBDA_CONTEXT
from handler.settings import Settings
from handler.snapshot import Snapshot


class Hooks:
    """Tells the adapter's calls from requests, and runs the snapshot's actions.

    Whoever comes from outside comes through an invocation, and to each of those the adapter adds a header, in place of
    the client's if there is one. So a call without that header is the adapter's own. From 1.1.0 on, it also refuses
    these paths to clients itself.

    An adapter that has no hooks calls neither: then the first request of an invocation finds out that the process was
    restored.

    Args:
        snapshot: Has the actions.
        settings: Have the paths, as they are set for the adapter.
    """

    def __init__(self, snapshot: Snapshot, settings: Settings) -> None:
        self._snapshot = snapshot
        named = ((settings.before_checkpoint, snapshot.before), (settings.after_restore, snapshot.after))
        self._actions = {path: action for path, action in named if path is not None}

    async def take(self, scope: Scope, path: str, receive: Receive, send: Send) -> bool:
        """Answer a call of a hook; returns whether it was one.

        Args:
            scope: ASGI's, of any request.
            path: As the client wrote it.
            receive: ASGI's.
            send: ASGI's.

        Raises:
            Exception: An action failed; then there is no answer yet.
        """
        if any(name == LAMBDA_CONTEXT for name, _ in scope["headers"]):
            self._snapshot.after(invoked=True)
            return False
        action = self._actions.get(path)
        if action is None or scope["method"] != "POST":
            return False
        action()
        # The connection must not be in the snapshot.
        await send({"type": "http.response.start", "status": 204, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b""})
        return True
