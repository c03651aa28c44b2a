"""Paths as clients write them → the routes' own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import dropwhile

VERSION = "v1"
# RFC 9112, 3.2.2: what proxies are sent, and every server must take
_ABSOLUTE = re.compile(r"https?://[^/]*", re.IGNORECASE)


class Paths:
    """Finds the path that is meant.

    Args:
        routes: The routes' paths; one with a parameter ends in it, as `/v1/models/{model:path}`.
    """

    def __init__(self, routes: Iterable[str]) -> None:
        known = list(routes)
        self._whole = {path for path in known if "{" not in path}
        self._beginnings = tuple(path.partition("{")[0] for path in known if "{" in path)

    def meant(self, path: str) -> str:
        """Return the route's path: without a host, doubled slashes or one at the end, and with one `/v1` if it has one.

        What is no route's path in any way is returned as it is.
        """
        if self._known(path):
            return path
        if absolute := _ABSOLUTE.match(path):
            return self.meant(path[absolute.end() :] or "/")
        segments = [segment for segment in path.split("/") if segment]
        rest = list(dropwhile(VERSION.__eq__, segments))
        if segments and not rest:
            return path  # `/v1` alone is not the page.
        for candidate in ("/" + "/".join([VERSION, *rest]), "/" + "/".join(rest)):
            if self._known(candidate):
                return candidate
        return path

    def _known(self, path: str) -> bool:
        return path in self._whole or any(path.startswith(start) and path != start for start in self._beginnings)
