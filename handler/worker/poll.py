"""`python -m handler.worker.poll`: the worker where no Lambda polls its queue, as on Kubernetes or ECS.

It loads the model, then takes batches from FIREBRICK_QUEUE_URL until a signal, and ends with the batch in hand.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import gc  # noqa: E402

gc.disable()  # What is imported stays: looking for garbage among it takes 5 % of start-up.

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Mapping  # noqa: E402

from handler.errors import SettingsError, StartupError  # noqa: E402
from handler.settings import read_settings  # noqa: E402
from handler.start.background import Background  # noqa: E402
from handler.start.environment import configure_libraries  # noqa: E402
from handler.worker.queue import connect  # noqa: E402
from handler.worker.start import start_worker  # noqa: E402

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(environ: Mapping[str, str]) -> int:
    """Poll until a signal; a second one ends the process in the middle of a batch, whose messages are seen again later.

    Returns:
        The exit code: 0 after a signal, 2 if something that the operator can change prevents the start.
    """
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))
    try:
        run(environ)
    except StartupError as error:
        print(f"firebrick: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(environ: Mapping[str, str]) -> None:
    """Load the model and poll.

    Raises:
        StartupError: The settings, the artefact or the queue are wrong.
    """
    settings = read_settings(environ)
    url = settings.queue_url
    if url is None:
        raise SettingsError(
            "FIREBRICK_QUEUE_URL", "", "the queue to poll, as https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
        )
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    queue = Background(lambda: connect(url, region, settings.queue_visibility_s, settings.queue_wait_s))
    worker = start_worker(environ, STARTED)
    found = queue.result()

    from aws_lambda_powertools.logging import Logger

    from handler.worker.poller import Poller
    from handler.worker.telemetry import SERVICE

    log = Logger(service=settings.service or SERVICE, location=None)
    poller = Poller(
        worker,
        found,
        settings.queue_batch,
        settings.queue_timeout_s,
        settings.queue_wait_s,
        settings.queue_visibility_s,
        log,
    )

    def stop(number: int, _: object) -> None:
        poller.stop()
        for other in SIGNALS:
            signal.signal(other, lambda *_: os._exit(128 + number))

    for number in SIGNALS:
        signal.signal(number, stop)
    gc.freeze()
    gc.enable()
    log.info("polling", extra={"queue": found.arn, "batch": settings.queue_batch})
    poller.run()


if __name__ == "__main__":
    configure_libraries(os.environ)
    code = main(os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # A thread that is still loading native code can't be stopped, and crashes a Python that ends.
