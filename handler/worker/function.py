"""The worker function's entry, for `python -m awslambdaric handler.worker.function.handle`.

Importing this module loads the model, as no other module does: awslambdaric imports it once, in Lambda's init phase.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import gc  # noqa: E402

gc.disable()  # What is imported stays: looking for garbage among it takes 5 % of start-up.

import os  # noqa: E402
import threading  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from awslambdaric.lambda_runtime_exception import FaultException  # noqa: E402

from handler.errors import ApiError, StartupError  # noqa: E402
from handler.start.environment import configure_libraries  # noqa: E402
from handler.worker.start import start_worker  # noqa: E402

if TYPE_CHECKING:
    from handler.worker.worker import Context, Worker


def _start() -> Worker:
    configure_libraries(os.environ)
    try:
        return start_worker(os.environ, STARTED)
    except StartupError as error:
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(10)  # A thread that still loads native code crashes a Python that ends.
        raise fault(error) from None
    finally:
        gc.freeze()
        gc.enable()


def fault(error: Exception) -> FaultException:
    """An error as awslambdaric reports it: its class and its text, without a traceback."""
    return FaultException(type(error).__name__, str(error))


worker = _start()


def handle(event: Any, context: Context) -> Any:
    """Answer an event.

    Raises:
        FaultException: The invocation fails with the name and the text of one of `handler.errors`.
    """
    try:
        return worker.handle(event, context)
    except ApiError as error:
        raise fault(error) from None
