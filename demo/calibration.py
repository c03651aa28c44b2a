"""`python -m demo.calibration`: write model_export/calibration.jsonl, the exporter's own calibration text.

Our documentation, a section at a time, between dialogues that the demo's corpus generates, English prose, and in turn a
paragraph in another language and a piece of our code; all are in the repository. The prose is of the State of the Union
addresses from 1940 on, which are works of the United States' government, and of Moby-Dick (1851), both in the public
domain (prose.txt), and of 18F's blog (posts.txt: github.com/18F/18f.gsa.gov, commit 0a55c75, dedicated to the public
domain by CC0 1.0). The other languages' paragraphs are of the Universal Declaration of Human Rights, which all may
reproduce (languages.txt).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path

from demo.corpus import examples

ROOT = Path(__file__).parent.parent
OUT = ROOT / "model_export" / "calibration.jsonl"
PROSE, POSTS, LANGUAGES = (Path(__file__).with_name(name) for name in ("prose.txt", "posts.txt", "languages.txt"))
DIALOGUES, PARAGRAPHS_OF_PROSE, PARAGRAPHS_OF_POSTS = 7, 4, 4  # in a round
SECTION, PIECE = 2000, 1200  # characters of documentation, and of code in every other round
SEED = 2
START = 20_000  # where the corpus has all skills
LONGEST = 180_000  # bytes; the exporter reads at most 32,768 tokens, with the largest vocabularies about 160,000 bytes


def sections() -> Sequence[str]:
    """The documentation's sections, the README's first, then one of each page in turn."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    readme, *others = (path.read_text(encoding="utf-8").split("\n## ") for path in pages)
    turns = [page[turn] for turn in range(max(map(len, others))) for page in others if turn < len(page)]
    return [_shortened(section, SECTION) for section in (*readme, *turns)]


def pieces() -> Iterator[str]:
    """The beginnings of our modules."""
    for path in sorted((ROOT / "handler").rglob("*.py")):
        code = path.read_text(encoding="utf-8")
        if len(code) >= PIECE:
            yield _shortened(code, PIECE)


def _shortened(text: str, length: int) -> str:
    """Whole lines, about so many characters; at least one."""
    return text if len(text) <= length else text[: text.find("\n", length) + 1] or text


def paragraphs(path: Path) -> Iterator[str]:
    """What stands between empty lines."""
    return iter(path.read_text(encoding="utf-8").strip().split("\n\n"))


def entries() -> Iterator[Mapping[str, object]]:
    """Texts and dialogues in turn."""
    prose, posts, languages, code = paragraphs(PROSE), paragraphs(POSTS), cycle(paragraphs(LANGUAGES)), cycle(pieces())
    for number, section in enumerate(sections()):
        start = START + number * DIALOGUES
        texts = (
            section,
            *islice(prose, PARAGRAPHS_OF_PROSE),
            *islice(posts, PARAGRAPHS_OF_POSTS),
            next(code if number % 2 else languages),
        )
        yield from ({"text": text.strip()} for text in texts)
        yield from ({"messages": dialogue} for dialogue in examples(SEED, start, DIALOGUES))


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
