"""Programs that have to be there."""

from __future__ import annotations

import shutil

from image.errors import ToolMissing


def require(program: str, what: str, remedy: str) -> str:
    """Find a program.

    Args:
        program: its name.
        what: what it does here, as in "makes the base image".
        remedy: how to get it.

    Returns:
        its path.

    Raises:
        ToolMissing: it isn't there.
    """
    path = shutil.which(program)
    if path is None:
        raise ToolMissing(program, what, remedy)
    return path
