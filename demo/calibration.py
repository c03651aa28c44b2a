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


if __name__ == "__main__":
    OUT.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries()), encoding="utf-8")
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")
