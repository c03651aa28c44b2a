"""`python -m demo.calibration`: write model_export/calibration.jsonl, the exporter's own calibration text.

Our documentation, section by section, between dialogues that the demo's corpus generates; both are in the repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from demo.corpus import examples

ROOT = Path(__file__).parent.parent
OUT = ROOT / "model_export" / "calibration.jsonl"
DIALOGUES_PER_SECTION = 8
SEED = 2
START = 20_000  # where the corpus has all skills
LONGEST = 120_000  # bytes; the exporter reads its first 8,192 tokens, with the largest vocabularies about 40,000 bytes


def sections() -> Iterator[str]:
    """The documentation's sections, in order."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        first, *rest = path.read_text(encoding="utf-8").split("\n## ")
        yield first
        yield from (f"## {section}" for section in rest)


def entries() -> Iterator[Mapping[str, object]]:
    """Texts and dialogues in turn."""
    for number, section in enumerate(sections()):
        yield {"text": section.strip()}
        start = START + number * DIALOGUES_PER_SECTION
        yield from ({"messages": dialogue} for dialogue in examples(SEED, start, DIALOGUES_PER_SECTION))


def lines() -> Iterator[str]:
    """Whole entries as JSON, until there are enough."""
    size = 0
    for entry in entries():
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        size += len(line.encode())
        if size > LONGEST:
            return
        yield line


if __name__ == "__main__":
    OUT.write_text("".join(lines()), encoding="utf-8")
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")
