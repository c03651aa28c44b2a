"""``python -m bench.serve DIR``: a long prompt and a few tokens through the real server; its speed and its memory."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.machine import print_ceiling
from bench.server import Server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description="Measure the server under one request.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--prompt-tokens", type=int, default=512, help="(%(default)s)")
    parser.add_argument("--tokens", type=int, default=16, help="to stream (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="the median is printed (%(default)s)")
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    description = json.loads((args.model_dir / "firebrick.json").read_bytes())
    prompt = min(args.prompt_tokens, description["context_length"] - args.tokens)
    ids = [random.Random(0).randrange(description["vocab_size"]) for _ in range(prompt)]
    with Server(args.model_dir) as server:
        answers = [server.complete(ids, args.tokens) for _ in range(max(1, args.runs))]
        memory = server.memory()
    size = sum(path.stat().st_size for path in args.model_dir.iterdir())
    figures = {
        "prompt_tokens": prompt,
        "ready_ms": round(server.ready_ms, 1),
        "first_token_ms": round(median(a.first_token_ms for a in answers), 1),
        "prefill_tokens_per_second": round(
            median(1e3 * prompt / max(a.timings["prefill_ms"], 1e-3) for a in answers), 1
        ),
        "decode_tokens_per_second": round(median(a.timings.get("decode_tokens_per_second") or 0 for a in answers), 2),
        "artefact_bytes": size,
        "peak_memory_bytes": memory["peak"],
        "anonymous_memory_bytes": memory["anonymous"],
        "peak_memory_ratio": round(memory["peak"] / size, 2),
    }
    for name, value in figures.items():
        print(f"{name:<28}{value:>16,}")
    print(json.dumps({"bench": "serve", "artefact": str(args.model_dir), **figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
