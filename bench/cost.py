"""`python -m bench.cost DIR`: what a million tokens cost from the worker function, by the number of its slots.

Each measurement is one invocation of the worker, a batch of messages through so many slots, whose results say by
themselves what they cost. The numbers of slots take turns. The memory that is paid for is what has as many processors
as the engine has threads here, so that speed and price belong together. Beside it stands a lower bound: the price of
the processor time that was used, as if all threads had always worked. Others' work on the machine changes that less.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import print_ceiling
from handler.artefact import load_artefact
from handler.billing import Bill, Environment
from handler.engine.memory import COMMON_TOKENS, plan_room
from handler.engine.threads import MEGABYTES_PER_VCPU, resolve_threads
from handler.model import Model
from handler.prices import FALLBACK, lambda_rates, read_regions
from handler.settings import Settings
from handler.start.loading import load_model
from handler.worker.telemetry import Telemetry
from handler.worker.worker import Worker

LARGEST_MB = 10_240
STEP_MB = 64


class Kept:
    """Results in memory."""

    def __init__(self) -> None:
        self.results: dict[str, Mapping[str, Any]] = {}

    def has(self, key: str) -> bool:
        """Whether there is a result of that key."""
        return key in self.results

    def read(self, key: str) -> Mapping[str, Any] | None:
        """Return the result of that key."""
        return self.results.get(key)

    def keep(self, key: str, result: Mapping[str, Any]) -> bool:
        """Keep a result."""
        return self.results.setdefault(key, result) is result


class Context:
    """Lambda's, of an invocation that has time enough."""

    aws_request_id = "bench"

    def get_remaining_time_in_millis(self) -> int:
        """An hour."""
        return 3_600_000


def least_memory_mb(model_dir: Path, slots: int) -> int | None:
    """The smallest memory size that has room for so many slots, in steps of 64 MB; None if Lambda has none."""
    artefact = load_artefact(model_dir, "quick")
    tokens = slots * min(artefact.context_length, COMMON_TOKENS)
    sizes = range(STEP_MB, LARGEST_MB + 1, STEP_MB)
    return next((size for size in sizes if plan_room(artefact, size * 2**20, 1).tokens >= tokens), None)


def messages(count: int, prompt_tokens: int, tokens: int, vocab_size: int, seed: int) -> list[dict[str, Any]]:
    """SQS messages of one batch, with random prompts and answers of one length."""
    rng = random.Random(seed)
    bodies = [
        {
            "prompt": [rng.randrange(vocab_size) for _ in range(prompt_tokens)],
            "max_tokens": tokens,
            "ignore_eos": True,
            "temperature": 0,
        }
        for _ in range(count)
    ]
    return [
        {"messageId": f"m-{index}", "body": json.dumps(body), "eventSource": "aws:sqs", "attributes": {}}
        for index, body in enumerate(bodies)
    ]


def measure(model: Model, bill: Bill, memory_gb: float, slots: int, records: list[dict[str, Any]]) -> dict[str, float]:
    """Answer a batch; gives tokens a second and what they cost.

    Raises:
        SystemExit: A message has no result.
    """
    kept, own = Kept(), dataclasses.replace(model, slots=slots, bill=bill)
    telemetry = Telemetry({"POWERTOOLS_SERVICE_NAME": "bench"}, False, bill)
    worker = Worker(own, kept, telemetry, margin_s=0)
    started, processor_s = time.perf_counter(), time.process_time()
    with redirect_stdout(io.StringIO()):  # metrics, which are flushed by the hundred
        failed = worker.handle({"Records": records}, Context())["batchItemFailures"]
    seconds, processor_s = time.perf_counter() - started, time.process_time() - processor_s
    if failed:
        raise SystemExit(f"{len(failed)} of {len(records)} messages came back")
    timings = [result["timings"] for result in kept.results.values()]
    tokens = sum(told["completion_tokens"] for told in timings)
    usd = sum(told["estimated_cost_usd"] for told in timings)
    return {
        "tokens_per_second": tokens / seconds,
        "gb_seconds_per_million": seconds * memory_gb / tokens * 1e6,
        "million_tokens_usd": usd / tokens * 1e6,
        "processor_seconds_per_million": processor_s / tokens * 1e6,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description="Dollars per million tokens, by slots.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4, 8], help="(1 2 4 8)")
    parser.add_argument("--messages", type=int, default=16, help="of a batch (%(default)s)")
    parser.add_argument("--prompt-tokens", type=int, default=128, help="(%(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--memory-mb", type=int, help="that is paid for (1,769 for each thread)")
    parser.add_argument(
        "--region", default=FALLBACK, choices=sorted(read_regions()), help="whose prices count (%(default)s)"
    )
    parser.add_argument("--lookup", action="store_true", help="let a slot that is alone guess tokens")
    args = parser.parse_args(arguments)
    os.environ |= {"POWERTOOLS_LOG_LEVEL": "CRITICAL", "POWERTOOLS_METRICS_DISABLED": "true"}
    machine = print_ceiling()
    threads = resolve_threads(os.environ)
    memory_gb = (args.memory_mb or min(LARGEST_MB, threads * MEGABYTES_PER_VCPU)) / 1024
    bill, rates = Bill(Environment(memory_gb, args.region)), lambda_rates(args.region)
    assert rates is not None
    settings = Settings(args.model_dir, verify="quick", slots=max(args.slots), lookup=args.lookup)
    model, _ = load_model(settings, threads)
    vocab_size = model.served.vocab_size
    rounds: list[dict[int, dict[str, float]]] = []
    for number in range(args.rounds + 1):  # The first one warms up.
        records = messages(args.messages, args.prompt_tokens, args.tokens, vocab_size, number)
        rounds.append({slots: measure(model, bill, memory_gb, slots, records) for slots in args.slots})
    figures = []
    print(f"{'slots':>5}{'from MB':>9}{'tokens/s':>10}{'ratio':>7}{'GB-s per M':>12}{'$ per M':>9}{'at least':>10}")
    for slots in args.slots:
        found = {name: median(row[slots][name] for row in rounds[1:]) for name in rounds[0][slots]}
        ratio = median(row[slots]["tokens_per_second"] / row[args.slots[0]]["tokens_per_second"] for row in rounds[1:])
        least = least_memory_mb(args.model_dir, slots)
        processor_s = found["processor_seconds_per_million"]
        at_least = processor_s / threads * memory_gb * rates.gb_second
        figures.append(
            {
                "slots": slots,
                "least_memory_mb": least,
                "tokens_per_second": round(found["tokens_per_second"], 1),
                "ratio": round(ratio, 2),
                "gb_seconds_per_million": round(found["gb_seconds_per_million"]),
                "million_tokens_usd": round(found["million_tokens_usd"], 3),
                "processor_seconds_per_million": round(processor_s),
                "lower_bound_usd": round(at_least, 3),
            }
        )
        print(
            f"{slots:>5}{least or '-':>9}{found['tokens_per_second']:>10,.1f}{ratio:>7.2f}"
            f"{found['gb_seconds_per_million']:>12,.0f}{found['million_tokens_usd']:>9.3f}{at_least:>10.3f}"
        )
    paid = {"memory_mb": round(memory_gb * 1024), "region": args.region}
    asked = {"messages": args.messages, "prompt_tokens": args.prompt_tokens, "tokens": args.tokens}
    told = {"bench": "cost", "artefact": str(args.model_dir), **paid, **asked, "figures": figures, "machine": machine}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
