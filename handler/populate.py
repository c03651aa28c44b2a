"""Reading the weights ahead: into the page cache, in file order, while Python still imports.

The system is only told what will be needed, and reads with as many requests as the disk takes. mmap's
MADV_POPULATE_READ is as fast, but Python holds its lock meanwhile, and so would stop the imports.
"""

from __future__ import annotations

import os
from pathlib import Path

PIECE = 16 * 1024 * 1024  # bytes asked for at a time: small enough that others get their turn


def populate(path: Path) -> int:
    """Ask for a whole file.

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
