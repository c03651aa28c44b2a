"""`python -m bench.session DIR`: each session option, and the prefill chunk, against its alternatives.

Every variant runs in a process of its own, all of them once a round, so that drift hits all alike.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import print_ceiling

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "optimization basic": {"optimization": "basic"},
    "optimization disabled": {"optimization": "disabled"},
    "no spinning": {"spinning": False},
    "long spinning": {"spin_us": 100_000},
    "no memory arena": {"memory_arena": False},
    "no memory pattern": {"memory_pattern": False},
    "denormals as zero": {"denormal_as_zero": True},
    "prefill chunk 64": {"prefill_chunk": 64},
    "prefill chunk 128": {"prefill_chunk": 128},
    "prefill chunk 512": {"prefill_chunk": 512},
    "one thread": {"threads": 1},
}


def run_variant(model_dir: Path, variant: dict[str, Any], prompt_tokens: int, tokens: int) -> dict[str, float]:
    """Load the engine with a variant's options in this process and measure one generation."""
    import os

    from handler.artefact import GRAPH, load_artefact
    from handler.engine.cancellation import Cancellation
    from handler.engine.engine import Engine, EngineOptions
    from handler.engine.kernels import given_library, library_of
    from handler.engine.sampling import SamplingParams
    from handler.engine.session import SessionOptions, create_session
    from handler.engine.threads import resolve_threads

    variant = dict(variant)
    chunk, threads = variant.pop("prefill_chunk", 256), variant.pop("threads", resolve_threads(os.environ))
    artefact = load_artefact(model_dir, "quick")
    started = time.perf_counter()
    library = library_of(artefact, given_library(os.environ))
    session = create_session(model_dir / GRAPH, threads, SessionOptions(**variant), library)
    engine = Engine(session, artefact, EngineOptions(chunk, keep_prefixes=False, lookup=False))
    session_s = time.perf_counter() - started
    prompt = [random.Random(0).randrange(artefact.vocab_size) for _ in range(prompt_tokens)]
    list(engine.generate(prompt[:1], SamplingParams(temperature=0), 1, (), Cancellation()))  # maps the weights
    started = time.perf_counter()
    generation = engine.generate(prompt, SamplingParams(temperature=0), tokens + 1, (), Cancellation())
    next(generation)
    prefill_s = time.perf_counter() - started
    started = time.perf_counter()
    for _ in generation:
        pass
    decode_s = time.perf_counter() - started
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    return {
        "session_ms": session_s * 1e3,
        "prefill_tokens_per_second": prompt_tokens / prefill_s,
        "decode_tokens_per_second": tokens / decode_s,
        "peak_memory_mb": int(status) / 1e3,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.session", description="Measure every session option.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--prompt-tokens", type=int, default=512, help="(%(default)s)")
    parser.add_argument("--tokens", type=int, default=16, help="to decode (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--only", choices=sorted(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.only:
        print(json.dumps(run_variant(args.model_dir, VARIANTS[args.only], args.prompt_tokens, args.tokens)))
        return 0
    machine = print_ceiling()
    size = ["--prompt-tokens", str(args.prompt_tokens), "--tokens", str(args.tokens)]
    command = [sys.executable, "-m", "bench.session", str(args.model_dir), *size, "--only"]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for _ in range(max(1, args.rounds)):
        for name, results in rounds.items():
            results.append(json.loads(subprocess.check_output([*command, name])))
    figures = {
        name: {key: round(median(result[key] for result in results), 1) for key in results[0]}
        for name, results in rounds.items()
    }
    print(
        f"{f'medians of {max(1, args.rounds)}':<24}{'session ms':>12}{'prefill/s':>12}{'decode/s':>12}{'peak MB':>12}"
    )
    for name, row in figures.items():
        print(f"{name:<24}" + "".join(f"{value:>12,.1f}" for value in row.values()))
    print(json.dumps({"bench": "session", "artefact": str(args.model_dir), "variants": figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
