"""The official JSON-Schema-Test-Suite, draft 2020-12, as jsonschema's source package has it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.conftest import ROOT

ARCHIVE = ROOT / "build" / "conformance" / "jsonschema-4.26.0.tar.gz"
DRAFT = "/json/tests/draft2020-12/"


@dataclass(frozen=True)
class Group:
    """A schema, and instances that are valid by it or aren't.

    Attributes:
        name: The file's and the group's.
        schema: Any JSON value.
        tests: `{"description", "data", "valid"}` each.
    """

    name: str
    schema: Any
    tests: tuple[dict[str, Any], ...]


@cache
def groups() -> tuple[Group, ...]:
    """Read the suite; `make build/conformance/.ready` downloads it."""
    return tuple(sorted(_groups(), key=lambda group: group.name))


def _groups() -> Iterator[Group]:
    with tarfile.open(ARCHIVE) as files:
        for member in files:
            _, draft, name = member.name.partition(DRAFT)
            content = files.extractfile(member) if draft and name.endswith(".json") else None
            for group in json.load(content) if content is not None else ():
                yield Group(f"{name} | {group['description']}", group["schema"], tuple(group["tests"]))
