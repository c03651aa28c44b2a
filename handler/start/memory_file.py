"""A file that lies in memory alone (memfd): written once, verified, sealed, and opened by its path like any other."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path


class MemoryFile:
    """A file of a known size.

    Args:
        name: shown in /proc/PID/maps.
        nbytes: its size; its pages take memory as they are written.

    Attributes:
        path: where this process can open it, as long as it lives.
        view: its bytes, until it is sealed.

    Raises:
        OSError: the system gives none.
    """

    def __init__(self, name: str, nbytes: int) -> None:
        self._handle = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self._handle, nbytes)
        self._memory = mmap.mmap(self._handle, nbytes)
        self.view = memoryview(self._memory)
        self.path = Path(f"/proc/self/fd/{self._handle}")

    def seal(self, modified: float) -> None:
        """Let nobody write any more, this process included.

        Args:
            modified: when its content was made, in Unix seconds.
        """
        self.view.release()
        self._memory.close()
        os.utime(self._handle, (modified, modified))
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self._handle, fcntl.F_ADD_SEALS, seals)
