"""Environment → a worker that can answer; what is slow loads side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from handler.engine.memory import memory_limit
from handler.engine.threads import resolve_threads
from handler.errors import ResultsBucketMissing
from handler.prices import SNAP_START
from handler.settings import S3, Settings, read_settings
from handler.start.background import Background
from handler.start.loading import load_model

if TYPE_CHECKING:
    from handler.model import Model
    from handler.worker.documents.documents import Desk
    from handler.worker.results import Results
    from handler.worker.telemetry import Telemetry
    from handler.worker.web import Web
    from handler.worker.worker import Worker

REST = ("handler.worker.worker",)  # Powertools


def start_worker(environ: Mapping[str, str], started_at: float) -> Worker:
    """Load the model and all around it.

    Args:
        environ: The settings' environment.
        started_at: When the process began, for the log; seconds of `time.perf_counter`.

    Raises:
        StartupError: Something that the operator can change is wrong.
    """
    settings = read_settings(environ)
    threads = resolve_threads(environ)
    connected = Background(lambda: _connect(settings))
    model, parts = load_model(settings, threads, REST, memory=memory_limit(environ), environ=environ)
    if settings.document_request:
        from handler.worker.documents.asking import check_defaults

        check_defaults(settings.document_request, model.served)
    results = connected.result()

    from handler.worker.telemetry import SERVICE, Telemetry
    from handler.worker.worker import Worker

    def web() -> Web:
        from handler.worker.web import make_web  # starlette, for which queues have no use

        return make_web(model, settings, environ, settings.service or SERVICE)

    def desk() -> Desk:
        from handler.worker.documents.documents import make_desk  # for which messages of other kinds have no use

        if settings.results_bucket is None:
            raise ResultsBucketMissing("documents")
        return make_desk(settings, settings.results_bucket, settings.region)

    telemetry = Telemetry(environ, settings.log_text, model.bill)
    worker = Worker(model, results, telemetry, settings.deadline_margin_ms / 1e3, make_web=web, make_desk=desk)
    ready_ms = round((time.perf_counter() - started_at) * 1e3, 1)
    model.bill.initialized(ready_ms)
    members = {"model": model.served.model_id, "threads": threads, "slots": model.slots, "prefixes": model.prefixes}
    telemetry.ready(ready_ms, **members, **parts)
    if settings.initialization == SNAP_START:
        _register(model, telemetry)
    return worker


def _register(model: Model, telemetry: Telemetry) -> None:
    """Tell Lambda's runtime client what to do around a snapshot; all else is made with the first event or later."""
    from snapshot_restore_py import register_after_restore, register_before_snapshot

    from handler.snapshot import Snapshot

    snapshot = Snapshot(telemetry.event)
    snapshot.on_after(model.forget_times)
    snapshot.on_billed(model.bill.restored)
    snapshot.on_restored(telemetry.restored)
    register_before_snapshot(snapshot.before)
    register_after_restore(snapshot.after)


def _connect(settings: Settings) -> Results | None:
    if settings.results_bucket is None:
        return None
    # Imports take turns, and the engine's come first: then its weights are being read.
    import_module("handler.engine.engine")
    from handler.worker.results import connect

    bucket = connect(settings.results_bucket, settings.region)
    if settings.results == (S3,):
        return bucket
    from handler.worker.delivery import Delivered
    from handler.worker.destinations import connect_destinations

    return Delivered(bucket, connect_destinations(settings))
