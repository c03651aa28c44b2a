"""What libraries look for in the environment while they are imported."""

from __future__ import annotations

from collections.abc import MutableMapping

LIBRARIES = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime reports to its makers unless told not to
    "OPENBLAS_NUM_THREADS": "1",  # numpy's; nothing here multiplies with it, and each of its threads spins at start-up
}


def configure_libraries(environ: MutableMapping[str, str]) -> None:
    """Set what the operator hasn't set; to be called before numpy and onnxruntime are imported."""
    for name, value in LIBRARIES.items():
        environ.setdefault(name, value)
