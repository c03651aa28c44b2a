"""What the function of the tests does with messages of a queue, and the journal that it keeps."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


def handle_batch(records: list[dict[str, Any]]) -> Any:
    """Write a journal, and do to each message what its body says: `once` says it of the first attempt only."""
    bodies = [json.loads(record["body"]) for record in records]
    names = [body["name"] for body in bodies]
    _note("begin", names, records)
    failures, answer = [], None
    for record, body in zip(records, bodies, strict=True):
        first = record["attributes"]["ApproximateReceiveCount"] == "1"
        does = {**body, **(body.get("once", {}) if first else {})}
        if "raise" in does:
            raise ValueError(does["raise"])
        if "exit" in does:
            os._exit(does["exit"])
        while "wait" in does and not Path(does["wait"]).exists():
            time.sleep(0.01)
        if does.get("fail"):
            failures.append({"itemIdentifier": record["messageId"]})
        answer = does.get("answer", answer)
    _note("end", names, [])
    return {"batchItemFailures": failures} if answer is None else answer


def _note(what: str, names: list[str], records: list[dict[str, Any]]) -> None:
    line = json.dumps({"what": what, "names": names, "records": records}) + "\n"
    descriptor = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def journal(path: Path) -> list[dict[str, Any]]:
    """Return what was written."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def attempts(path: Path) -> list[list[str]]:
    """Return the names in each batch, in the order in which they began."""
    return [line["names"] for line in journal(path) if line["what"] == "begin"]


def finished(path: Path) -> list[str]:
    """Return the names whose batch came to its end, in that order."""
    return [name for line in journal(path) if line["what"] == "end" for name in line["names"]]
