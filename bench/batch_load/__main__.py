"""`python -m bench.batch_load DIR`: documents through the real queue, poller and worker, with faults and without.

The bucket and the queue are moto's, the functions the local Lambda's. With faults, worker processes are killed, batches
are throttled, S3 refuses calls or loses answers, some documents can't be answered, and S3 tells of some twice. Nothing
may be lost or written twice, and every answer must be the same as without faults.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.batch_load.account import Limits
from bench.batch_load.documents import make_documents
from bench.batch_load.judging import different, faults, judge
from bench.batch_load.picture import draw
from bench.batch_load.running import Plan, run
from bench.machine import print_ceiling


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 1 where a document was lost, doubled or answered differently."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.batch_load", description="Answer many documents, with faults."
    )
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--documents", type=int, default=2000, help="(%(default)s)")
    parser.add_argument("--environments", type=int, default=4, help="of the function (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=10, help="messages of an invoke (%(default)s)")
    parser.add_argument("--memory", type=int, default=3008, metavar="MB", help="of the function (%(default)s)")
    parser.add_argument("--timeout", type=int, default=20, metavar="S", help="of an invoke (%(default)s)")
    parser.add_argument("--visibility", type=int, default=20, metavar="S", help="of the queue (%(default)s)")
    parser.add_argument("--receives", type=int, default=6, help="until a message is given up (%(default)s)")
    parser.add_argument("--kills", type=int, default=12, help="of worker processes (%(default)s)")
    parser.add_argument("--refused", type=float, default=0.02, help="part of S3's calls (%(default)s)")
    parser.add_argument("--cut", type=float, default=0.01, help="part of S3's calls whose answer is lost (%(default)s)")
    parser.add_argument("--poison", type=float, default=0.02, help="part of the documents (%(default)s)")
    parser.add_argument("--doubled", type=int, default=20, help="every so many-th document is told twice (%(default)s)")
    parser.add_argument("--prefix-cache", action="store_true", help="leave it on; answers may then differ in near ties")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw results over time")
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    documents = make_documents(args.documents, poison=args.poison)
    calm = Plan(
        model_dir=args.model_dir,
        environments=args.environments,
        batch_size=args.batch_size,
        batches=args.environments,
        memory_mb=args.memory,
        timeout_s=args.timeout,
        limits=Limits(args.visibility, args.receives),
        prefix_cache=args.prefix_cache,
    )
    stormy = replace(
        calm,
        batches=args.environments + 2,
        kills=args.kills,
        refused=args.refused,
        cut=args.cut,
        doubled=args.doubled,
    )
    outcomes = {"without faults": run(documents, calm), "with faults": run(documents, stormy)}
    rows = {name: judge(documents, outcome) for name, outcome in outcomes.items()}
    changed = different(*outcomes.values())
    wrong = [f"{name}: {fault}" for name, row in rows.items() for fault in faults(row)]
    wrong += [f"{len(changed)} answered differently: {', '.join(changed[:3])}"] if changed else []
    show(rows, changed)
    for fault in wrong:
        print(f"error: {fault}", file=sys.stderr)
    if args.plot:
        draw(outcomes, len(documents), args.plot)
    figures = {"figures": rows, "answered_differently": len(changed), "faults": wrong, "machine": machine}
    print(json.dumps({"bench": "batch_load", "artefact": str(args.model_dir), **figures}))
    return 1 if wrong else 0


def show(rows: dict[str, dict[str, Any]], changed: Sequence[str]) -> None:
    """Print the runs side by side."""
    for member in next(iter(rows.values())):
        values = [row[member] for row in rows.values()]
        print(f"{member:<22}" + "".join(f"{_shown(value):<44}" for value in values).rstrip())
    print(f"{'answered differently':<22}{len(changed)}")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, dict):
        return " ".join(f"{name} {count}" for name, count in value.items())
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
