"""Paths as clients write them → the routes' own."""

from __future__ import annotations

from collections.abc import Iterable

VERSION = "v1"


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
        """Return the route's path: without doubled slashes or one at the end, and with one `/v1` where there is one.

        What is no route's path in any way is returned as it is.
        """
        if self._known(path):
            return path
        segments = [segment for segment in path.split("/") if segment]
        while segments[:1] == [VERSION]:
            del segments[0]
        for candidate in ("/" + "/".join([VERSION, *segments]), "/" + "/".join(segments)):
            if self._known(candidate):
                return candidate
        return path

    def _known(self, path: str) -> bool:
        return path in self._whole or any(path.startswith(start) and path != start for start in self._beginnings)
