"""Replacing the methods of somebody else's classes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def around(owner: type, name: str) -> Callable[[Callable[..., Any]], None]:
    """Replace a method by one that gets the original as its first argument."""
    original = getattr(owner, name)

    def replace(method: Callable[..., Any]) -> None:
        @functools.wraps(original)
        def replaced(*args: Any, **kwargs: Any) -> Any:
            return method(original, *args, **kwargs)

        setattr(owner, name, replaced)

    return replace
