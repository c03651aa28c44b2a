"""`python -m bench.tokenizer DIR`: how long an artefact's tokenizer takes to load, and to make tokens of a text.

DIR is an artefact, or a directory with tokenizer.json alone. Every load is a process of its own, so that none finds
what another left; medians count. Prints the machine's ceiling first and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.machine import print_ceiling
from model_export.errors import ExportError
from model_export.tokenizer import TOKENIZER_BINARY, TOKENIZER_JSON, load_tokenizer, write_binary

TEXT = Path(__file__).parent / "texts" / "tz-theory.txt"
LOAD = """
import sys, time
from kitoken import Kitoken
started = time.perf_counter()
with open(sys.argv[1], "rb") as file:
    tokenizer = Kitoken(file.read())
loaded = time.perf_counter()
with open(sys.argv[2], encoding="utf-8") as file:
    text = file.read()
begun = time.perf_counter()
count = len(tokenizer.encode(text, True))
print((loaded - started) * 1e3, count / (time.perf_counter() - begun))
"""


def measure(binary: Path, runs: int) -> dict[str, float]:
    """Load kitoken's form and read a text with it, so many times; gives medians, and the fastest load."""
    loads, rates = [], []
    for _ in range(runs):
        said = subprocess.check_output([sys.executable, "-c", LOAD, str(binary), str(TEXT)], text=True)
        load, rate = map(float, said.split())
        loads.append(load)
        rates.append(rate)
    figures = {"load_ms": median(loads), "load_ms_least": min(loads), "tokens_per_second": median(rates)}
    return {name: round(value, 2) for name, value in figures.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.tokenizer", description="Time a tokenizer.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--runs", type=int, default=9, help="(%(default)s)")
    args = parser.parse_args(arguments)
    try:
        load_tokenizer(args.directory)
        machine = print_ceiling()
        with tempfile.TemporaryDirectory(prefix="firebrick-") as work:
            binary = args.directory / TOKENIZER_BINARY
            if not binary.is_file():
                write_binary(Path(work), args.directory / TOKENIZER_JSON)
                binary = Path(work) / TOKENIZER_BINARY
            found = measure(binary, args.runs)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    least = found["load_ms_least"]
    print(f"loaded in {found['load_ms']:.1f} ms, at best {least:.1f}; {found['tokens_per_second']:,.0f} tokens/s")
    print(json.dumps({"bench": "tokenizer", "directory": str(args.directory), **found, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
