"""`python -m bench.quality demo`: the demo model's exact-match score per skill, in float and quantized."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.machine import print_ceiling
from demo.evaluation import SKILLS, Item, items, score
from handler.artefact import TOKENIZER, load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import SamplingParams
from handler.text.template import ChatTemplate
from handler.text.tokenizer import Tokenizer
from model_export.export import export
from model_export.options import ExportOptions
from model_export.source import Source

CHECKPOINT = Path(__file__).parent.parent / "demo" / "checkpoint"
ARTEFACTS = {
    "float": ExportOptions(quantization="none"),
    "int4 nearest": ExportOptions(rounding="nearest"),
    "int4 search": ExportOptions(rounding="search"),
    "int4 calibrated": ExportOptions(rounding="calibrated"),
}
LONGEST = 200  # tokens of an answer


class Answerer:
    """An artefact that answers greedily, in its own chat form."""

    def __init__(self, directory: Path, threads: int) -> None:
        """Load it."""
        self._artefact = load_artefact(directory, "quick")
        self._engine = Engine.load(self._artefact, threads, EngineOptions(keep_prefixes=False, lookup=False))
        self._tokenizer = Tokenizer.load(directory / TOKENIZER)
        source = (directory / "chat_template.jinja").read_text(encoding="utf-8")
        self._template = ChatTemplate(source, self._artefact.special_tokens)

    def answer(self, item: Item) -> str:
        """Answer an item's messages."""
        ids = self._tokenizer.encode(self._template.render(item.messages, {}))
        room = min(LONGEST, self._artefact.context_length - len(ids))
        greedy = SamplingParams(temperature=0)
        tokens = self._engine.generate(ids, greedy, room, self._artefact.eos_token_ids, Cancellation())
        return self._tokenizer.decode_bytes([token.id for token in tokens]).decode("utf-8", "replace")


def scores(answerer: Answerer, count: int, seed: int) -> dict[str, float]:
    """Share of items answered exactly, by skill."""
    result = {}
    for skill in SKILLS:
        wanted = items(skill, count, seed)
        right = sum(score(answerer.answer(item), item.expected) for item in wanted)
        result[skill] = round(right / len(wanted), 4)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality demo", description="Score the demo model's skills.")
    parser.add_argument("--count", type=int, default=200, help="held-out items a skill (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the items (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(%(default)s)")
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="firebrick-") as work:
        for name, options in ARTEFACTS.items():
            directory = Path(work) / name.replace(" ", "-")
            export(Source(CHECKPOINT, "firebrick-demo", None), directory, options)
            found[name] = scores(Answerer(directory, args.threads), args.count, args.seed)
    print(f"{'exact match':<14}" + "".join(f"{name:>17}" for name in found))
    for skill in SKILLS:
        print(f"{skill:<14}" + "".join(f"{row[skill]:>17.1%}" for row in found.values()))
    print(json.dumps({"bench": "skills", "count": args.count, "scores": found, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
