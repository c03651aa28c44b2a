"""What is done around a snapshot, and that processes that were copied don't repeat each other."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from handler.snapshot import Snapshot

# A process that has loaded a model is copied with all its memory; each copy then answers. With one thread, for a fork
# copies no others.
COPIES = """
import json, os, random, sys, uuid
from pathlib import Path
import numpy.random
from handler.engine.sampling import SamplingParams
from handler.settings import Settings
from handler.snapshot import Snapshot
from handler.start.loading import load_model

model, _ = load_model(Settings(Path(sys.argv[1]), verify="quick", initialization="snap-start"), 1)

def said(seed):
    params = SamplingParams(temperature=2.0, seed=seed)
    tokens, engine = [], model.generate([1, 2, 3], params, 24, (), model.new_cancellation())
    for token in engine:
        model.step() if token is None else tokens.append(token.id)
    return tokens

def drawn():
    return {"random": random.random(), "numpy": numpy.random.random()}

state = random.getstate()
for restored in (True, True, False, False):
    read, write = os.pipe()
    if os.fork() == 0:
        random.setstate(state)  # Python notices a fork and draws a new one; it couldn't notice a snapshot.
        if restored:
            Snapshot().after()
        text = {"free": said(None), "seeded": said(7)}
        told = {**text, **drawn(), "uuid": str(uuid.uuid4()), "id": os.urandom(12).hex()}
        os.write(write, json.dumps(told).encode())
        os._exit(0)
    os.close(write)
    with open(read) as told:
        print(told.read(), flush=True)
    os.wait()
"""


@pytest.fixture(scope="module")
def copies(demo_artefact: Path) -> list[dict[str, Any]]:
    """What four copies of a process have drawn; the first two took note that they were restored."""
    command = [sys.executable, "-c", COPIES, str(demo_artefact)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("what", ["free", "uuid", "id", "random", "numpy"])
def test_restored_copies_draw_different_numbers(copies: list[dict[str, Any]], what: str) -> None:
    assert copies[0][what] != copies[1][what]


def test_a_seed_gives_the_same_text_in_each_copy(copies: list[dict[str, Any]]) -> None:
    assert len(copies[0]["seeded"]) > 1
    assert all(copy["seeded"] == copies[0]["seeded"] for copy in copies)


@pytest.mark.parametrize("what", ["random", "numpy"])
def test_copies_that_were_told_nothing_repeat_each_other(copies: list[dict[str, Any]], what: str) -> None:
    assert copies[2][what] == copies[3][what]


@pytest.mark.parametrize("what", ["free", "uuid", "id"])
def test_texts_and_ids_need_nobody_to_tell_them(copies: list[dict[str, Any]], what: str) -> None:
    assert copies[2][what] != copies[3][what]


def test_after_a_restore_all_is_done_once_in_order() -> None:
    done: list[str] = []
    snapshot = Snapshot()
    for name in "ab":
        snapshot.on_after(partial(done.append, name))
    snapshot.after()
    snapshot.after()
    assert done == ["a", "b"]


def test_what_failed_after_a_restore_is_tried_again() -> None:
    failures = [OSError("no"), None]

    def fail_once() -> None:
        if (failure := failures.pop(0)) is not None:
            raise failure

    snapshot = Snapshot()
    snapshot.on_after(fail_once)
    with pytest.raises(OSError, match="no"):
        snapshot.after()
    assert not snapshot.restored
    snapshot.after()
    assert snapshot.restored


def test_a_checkpoint_may_be_prepared_again() -> None:
    done: list[int] = []
    events: list[str] = []
    snapshot = Snapshot(lambda event, ms: events.append(event))
    snapshot.on_before(lambda: done.append(1))
    snapshot.before()
    snapshot.before()
    assert done == [1, 1]
    assert events == ["checkpoint", "checkpoint"]


@pytest.mark.parametrize("invoked", [False, True])
def test_an_invocation_that_restores_has_the_time_in_its_duration(invoked: bool) -> None:
    told: list[str] = []
    snapshot = Snapshot()
    snapshot.on_restored(lambda ms: told.append("restored"))
    snapshot.on_billed(lambda ms: told.append("billed"))
    snapshot.after(invoked)
    assert told == ["restored"] if invoked else ["restored", "billed"]
