"""`python -m handler`: settings → socket → model → ready → serve."""

from __future__ import annotations

import time

STARTED = time.perf_counter()  # before the imports: they are part of what start-up costs

import gc  # noqa: E402

gc.disable()  # What is imported stays: looking for garbage among it takes 5 % of start-up.

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Mapping, Sequence  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from handler.engine.threads import resolve_threads  # noqa: E402
from handler.errors import StartupError  # noqa: E402
from handler.http.connections import Bounds, connection_limit  # noqa: E402
from handler.http.listener import listen, open_socket  # noqa: E402
from handler.settings import Settings, read_settings  # noqa: E402
from handler.start.environment import configure_libraries, open_standard_streams  # noqa: E402
from handler.start.key_loading import KeyLoading  # noqa: E402
from handler.start.loading import load_model  # noqa: E402

if TYPE_CHECKING:
    from handler.access.keys import Keys
    from handler.http.hooks import Hooks
    from handler.logs import Log
    from handler.metrics import Metrics
    from handler.model import Model
    from handler.snapshot import Snapshot

LAST_LINES_S = 2.0  # for a reader of the log that is behind
WEB = ("handler.http.app", "handler.http.server")  # starlette and uvicorn


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve a model until a signal.

    Returns:
        The exit code: 0 after a signal, 2 if something that the operator can change prevents the start.
    """
    # Until there is anything to finish, a signal ends the process at once, even while native code loads.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        settings = read_settings(environ, **_parse_arguments(arguments))
        run(settings, resolve_threads(environ), environ)
    except StartupError as error:
        print(f"firebrick: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(settings: Settings, threads: int, environ: Mapping[str, str]) -> None:
    """Load the model and answer.

    Args:
        settings: Read from the environment.
        threads: Of the engine.
        environ: Where AWS's credentials are, if the API key is a secret.

    Raises:
        StartupError: The server can't start.
    """
    bounds = Bounds(connection_limit(settings.connections), settings.head_s, settings.keep_alive_s)
    opened = open_socket(settings.host, settings.port)
    key = KeyLoading(settings, environ)
    model, parts = load_model(settings, threads, WEB, key.begin, environ=environ)

    from handler.http.app import create_app
    from handler.http.server import serve
    from handler.logs import Log, Unblocked
    from handler.scheduler import Scheduler

    lines = Unblocked(sys.stdout)
    log = Log(lines, settings.log_text)
    metrics = _metrics(settings, log)
    scheduler = Scheduler[Any](settings.queue, model.slots, model.step)
    keys = key.result()
    snapshot = _snapshot(settings, model, keys, metrics, log)
    app = create_app(model, scheduler, settings, log, keys, metrics, _hooks(settings, snapshot))
    url = listen(opened)

    def ready() -> None:
        gc.freeze()
        gc.enable()
        ready_ms = round((time.perf_counter() - STARTED) * 1e3, 1)
        model.bill.initialized(ready_ms)
        members = {"model": model.served.model_id, "url": url, "threads": threads, "prefixes": model.prefixes}
        log.event("ready", **members, ready_ms=ready_ms, **parts, **key.parts, ended=parts.ended_ms(STARTED))
        if metrics is not None:
            metrics.ready(ready_ms)
        if snapshot is not None:
            snapshot.before()  # An adapter that has no hooks says nothing before the checkpoint.

    serve(app, scheduler, opened, settings.shutdown_grace_s, ready, log, bounds, snapshot)
    lines.drain(LAST_LINES_S)


def _metrics(settings: Settings, log: Log) -> Metrics | None:
    if settings.function_name is None or settings.metrics_disabled:
        return None
    from handler.metrics import SERVICE, Metrics

    return Metrics(log, settings.metrics_namespace, settings.service or SERVICE)


def _snapshot(settings: Settings, model: Model, keys: Keys, metrics: Metrics | None, log: Log) -> Snapshot | None:
    """What is done around a snapshot; None where the environment comes from none."""
    from handler.prices import SNAP_START

    if settings.function_name is None or settings.initialization != SNAP_START:
        return None
    from handler.snapshot import Snapshot

    snapshot = Snapshot(lambda event, took_ms: log.event(event, took_ms=took_ms))
    snapshot.on_after(model.forget_times)
    snapshot.on_after(keys.doubt)
    snapshot.on_billed(model.bill.restored)
    if metrics is not None:
        snapshot.on_restored(metrics.restored)
    return snapshot


def _hooks(settings: Settings, snapshot: Snapshot | None) -> Hooks | None:
    if snapshot is None:
        return None
    from handler.http.hooks import Hooks

    return Hooks(snapshot, settings)


def _parse_arguments(arguments: Sequence[str]) -> dict[str, str | None]:
    """What overrides the environment, by the settings' names."""
    if not arguments:
        return {}
    import argparse  # 10 ms that a function has no use for

    parser = argparse.ArgumentParser("python -m handler", description="Serve an exported model over OpenAI's API.")
    parser.add_argument("--model-dir", metavar="DIR", help="an exported model (FIREBRICK_MODEL_DIR)")
    parser.add_argument("--host", help="the address to listen on (FIREBRICK_HOST, default 127.0.0.1)")
    parser.add_argument("--port", help="the port, 0 for any (AWS_LWA_PORT, PORT, default 8080)")
    return vars(parser.parse_args(arguments))


if __name__ == "__main__":
    open_standard_streams()
    configure_libraries(os.environ)
    code = main(sys.argv[1:], os.environ)
    sys.stderr.flush()
    os._exit(code)  # A thread that is still loading native code can't be stopped, and crashes a Python that ends.
