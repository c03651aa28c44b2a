"""What a process finds around it: its standard streams, and what libraries look for in its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

LIBRARIES = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime reports to its makers unless told not to
    "OPENBLAS_NUM_THREADS": "1",  # numpy's; nothing here multiplies with it, and each of its threads spins at start-up
}


def configure_libraries(environ: MutableMapping[str, str]) -> None:
    """Set what the operator hasn't set; to be called before numpy and onnxruntime are imported."""
    for name, value in LIBRARIES.items():
        environ.setdefault(name, value)


def open_standard_streams() -> None:
    """Open what the caller has closed of stdin, stdout and stderr, to nowhere.

    Else the next file or socket would get its number, and what libraries print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
