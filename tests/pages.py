"""The documentation as tests read it: pages, tables, anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "demo/checkpoint/README.md", ROOT / "examples/README.md"]
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    """A page, by its path."""
    return (ROOT / name).read_text(encoding="utf-8")


def everywhere(pattern: str, *paths: Path) -> set[str]:
    """What a pattern finds in pages; in all of them by default."""
    return {match for path in paths or PAGES for match in re.findall(pattern, path.read_text(encoding="utf-8"))}


def table(text: str, header: str) -> list[list[str]]:
    """The cells of the table whose head row begins so."""
    lines = iter(text.splitlines())
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith(f"| {header} |"):
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    return rows
                rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]])
    assert rows, f"no table | {header} |"
    return rows


def names(cell: str, pattern: str = r"\w+") -> set[str]:
    """What stands in backticks in a cell, if all of it is a name."""
    return set(re.findall(f"`({pattern})`", cell))


def commands() -> Iterator[tuple[str, str]]:
    """Each `python -m` of the pages: the module, and what follows it up to the command's end."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        yield from re.findall(r"python3? -m ([a-z_][a-z_.]*[a-z_])([^`\n;#]*)", text)


def without_code(path: Path) -> str:
    """A page's prose."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """What a link into a page may name, by GitHub's rule."""
    return {_slug(heading) for heading in re.findall(r"^#+ (.+)$", without_code(path), re.MULTILINE)}


def _slug(heading: str) -> str:
    plain = re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
