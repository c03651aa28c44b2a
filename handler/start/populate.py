"""Reading the weights ahead, in file order, while Python still imports.

The system is told what will be needed, and reads with as many requests as the disk takes. mmap's MADV_POPULATE_READ is
as fast, but Python holds its lock meanwhile, and so would stop the imports.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handler.engine.weights import Weights

# Bytes asked for at a time: Linux cuts longer advice to a disk's largest request, 1.25 MB with most.
PIECE = 512 * 1024


def read_ahead(path: Path) -> int:
    """Ask for a whole file, so that it gets into the page cache.

    Returns:
        bytes asked for; fewer than the file has where the system refuses, which costs nothing but time later.
    """
    asked = 0
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(handle).st_size
            while asked < size:
                length = min(PIECE, size - asked)
                os.posix_fadvise(handle, asked, length, os.POSIX_FADV_WILLNEED)
                asked += length
        finally:
            os.close(handle)
    except OSError:
        pass
    return asked


def populate(weights: Weights, function: Callable[[int, int, int], None]) -> None:
    """Get mapped weights into the page cache and from there into the page tables, and wait until they are there.

    Args:
        weights: what to read.
        function: from `handler.engine.kernels.populate_function`.
    """
    with weights.path.open("rb") as file:
        function(file.fileno(), weights.address, weights.nbytes)
