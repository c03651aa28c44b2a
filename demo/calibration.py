"""`python -m demo.calibration`: write model_export/calibration.jsonl, the exporter's own calibration text.

Our documentation, section by section, between dialogues that the demo's corpus generates and plain English prose; all
are in the repository. The prose, prose.txt, is of the State of the Union addresses from 1940 on, which are works of the
United States' government, and of Moby-Dick (1851): both are in the public domain.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from demo.corpus import examples

ROOT = Path(__file__).parent.parent
OUT = ROOT / "model_export" / "calibration.jsonl"
PROSE = Path(__file__).with_name("prose.txt")
DIALOGUES_PER_SECTION = 8
PARAGRAPHS_PER_SECTION = 5
SEED = 2
START = 20_000  # where the corpus has all skills
LONGEST = 120_000  # bytes; the exporter reads at most 16,384 tokens, with the largest vocabularies about 80,000 bytes


def sections() -> Iterator[str]:
    """The documentation's sections, in order."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        first, *rest = path.read_text(encoding="utf-8").split("\n## ")
        yield first
        yield from (f"## {section}" for section in rest)


def entries() -> Iterator[Mapping[str, object]]:
    """Texts, prose and dialogues in turn."""
    paragraphs = iter(PROSE.read_text(encoding="utf-8").split("\n\n"))
    for number, section in enumerate(sections()):
        yield {"text": section.strip()}
        yield from ({"text": paragraph.strip()} for paragraph in islice(paragraphs, PARAGRAPHS_PER_SECTION))
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
