"""`python -m bench.deployed --function NAME` (or `--url URL`): what a deployed function takes and costs.

`--function` calls through the Invoke API, with the event of a function URL: Lambda's REPORT line comes with each
answer. `--url` calls the function URL, signed, or with FIREBRICK_API_KEY; then cold starts and costs are known by the
answers' own timings alone. The local Lambda of `make local` is measured in the same way, with `--endpoint` for its
Invoke API.

Before choosing a place for a model, one wants to know: cold start, end-to-end p95, the mix of warm and cold, memory,
concurrency, cost per 1,000 requests. That is what is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from bench.deployed_calls import ByInvoke, ByUrl, Call, Failed, new_environments
from handler.prices import lambda_rates

QUANTILES = (50, 95, 99)


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile, by the nearest rank: always one that was measured."""
    ranked = sorted(values)
    return {f"p{q}": round(ranked[max(0, -(-len(ranked) * q // 100) - 1)], 1) for q in QUANTILES} if ranked else {}


def ask(call: Callable[[str], Call], prompts: Sequence[str], parallel: int) -> list[Call]:
    """Send prompts, so many at a time."""
    with ThreadPoolExecutor(parallel) as threads:
        return list(threads.map(call, prompts))


def summary(calls: Sequence[Call]) -> dict[str, Any]:
    """What calls took, in milliseconds; only those that were answered count."""
    answered = [call for call in calls if call.failed is None]
    speeds = [call.tokens_per_second for call in answered if call.tokens_per_second]
    return {
        "requests": len(calls),
        "failed": len(calls) - len(answered),
        "first_token_ms": quantiles([call.first_token_ms for call in answered]),
        "total_ms": quantiles([call.total_ms for call in answered]),
        "tokens_per_second": quantiles(speeds),
    }


def costs(calls: Sequence[Call], region: str | None, architecture: str) -> dict[str, float | None]:
    """US dollars for 1,000 such requests, by REPORT lines and by the answers' own estimates; null without any."""
    rates = lambda_rates(region, architecture)
    reports = [call.report for call in calls if call.report]
    estimates = [call.estimated_cost_usd for call in calls if call.estimated_cost_usd is not None]
    billed = None
    if rates and reports:
        each = [one.billed_ms / 1e3 * one.memory_mb / 1024 * rates.gb_second + rates.request for one in reports]
        billed = round(sum(each) / len(each) * 1e3, 6)
    return {
        "usd_per_1000_by_report": billed,
        "usd_per_1000_by_answers": round(sum(estimates) / len(estimates) * 1e3, 6) if estimates else None,
    }


def figures(cold: Sequence[Call], warm: Sequence[Call], wall_s: float, args: argparse.Namespace) -> dict[str, Any]:
    """All that is printed."""
    every = [*cold, *warm]
    answered = [call for call in every if call.failed is None]
    began = [call for call in answered if call.init_ms is not None]
    stayed = [call for call in answered if call.init_ms is None]
    reports = [call.report for call in every if call.report]
    return {
        "cold": {**summary(began), "init_ms": quantiles([call.init_ms for call in began if call.init_ms is not None])},
        "warm": summary(stayed),
        "end_to_end_p95_ms": quantiles([call.total_ms for call in answered]).get("p95"),
        "cold_share": round(len(began) / len(answered), 4) if answered else None,
        "memory_mb": max((one.memory_mb for one in reports), default=None),
        "max_memory_used_mb": max((one.max_memory_used_mb for one in reports), default=None),
        "concurrency": args.parallel,
        "requests_per_second": round(sum(call.failed is None for call in warm) / wall_s, 2) if wall_s else None,
        "throttled": sum(call.failed == "throttled" for call in every),
        "errors": sorted({call.failed for call in every if call.failed and call.failed != "throttled"}),
        "cold_cost": costs(began, args.region, args.architecture),
        "warm_cost": costs(stayed, args.region, args.architecture),
        "cost": costs(answered, args.region, args.architecture),
    }


def measure(args: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    """Ask for cold answers, if they are wanted, then for warm ones."""
    caller = ByInvoke(args, environ) if args.function else ByUrl(args, environ)
    words = " ".join(["word"] * args.prompt_words)

    def prompts(count: int, kind: str) -> list[str]:
        # No two begin alike, or the second would find the first in the cache.
        return [f"{kind} {time.time_ns()} {number}: {words}" for number in range(count)]

    cold: list[Call] = []
    if args.cold and args.cold_by == "concurrency":
        count = args.cold if args.model else args.cold + 1  # one finds the environment that has told the model's name
        cold = ask(caller.call, prompts(count, "cold"), count)
    elif args.cold:
        for prompt in prompts(args.cold, "cold"):
            with new_environments(args):
                cold.append(caller.call(prompt))
    if not args.cold:
        ask(caller.call, prompts(args.parallel, "first"), args.parallel)  # so that the rest finds environments
    started = time.perf_counter()
    warm = ask(caller.call, prompts(args.requests, "warm"), args.parallel)
    return figures(cold, warm, time.perf_counter() - started, args)


def show(found: Mapping[str, Any]) -> None:
    """Print the figures for people."""
    print(f"{'':24}{'requests':>9}{'p50':>10}{'p95':>10}{'p99':>10}")
    for kind in ("cold", "warm"):
        for name in ("init_ms", "first_token_ms", "total_ms", "tokens_per_second"):
            if row := found[kind].get(name):
                cells = "".join(f"{row[f'p{q}']:>10,.1f}" for q in QUANTILES)
                print(f"{kind + ' ' + name:24}{found[kind]['requests']:>9}{cells}")
    for name in ("end_to_end_p95_ms", "cold_share", "memory_mb", "max_memory_used_mb", "concurrency"):
        print(f"{name:24}{found[name]!s:>9}")
    for name in ("requests_per_second", "throttled"):
        print(f"{name:24}{found[name]!s:>9}")
    for kind in ("cold_cost", "warm_cost", "cost"):
        print(f"{kind:24}{json.dumps(found[kind])}")


def parse(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        SystemExit: it is wrong; the message says how.
    """
    parser = argparse.ArgumentParser("python -m bench.deployed", description="Measure a deployed function.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--function", metavar="NAME[:ALIAS]", help="called through the Invoke API, with REPORT lines")
    what.add_argument("--url", help="a function URL; signed, or with FIREBRICK_API_KEY")
    parser.add_argument("--endpoint", metavar="URL", help="of the Invoke API, as the local Lambda's (AWS's)")
    parser.add_argument("--region", default=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"))
    parser.add_argument("--architecture", choices=("x86_64", "arm64"), default="x86_64", help="(%(default)s)")
    parser.add_argument("--model", help="the first of /v1/models, which one environment is asked for before all else")
    parser.add_argument("--requests", type=_count, default=20, help="warm ones (%(default)s)")
    parser.add_argument("--parallel", type=_count, default=1, help="at a time (%(default)s)")
    parser.add_argument("--tokens", type=_count, default=32, help="of an answer, at most (%(default)s)")
    parser.add_argument("--prompt-words", type=_count, default=100, help="of a prompt (%(default)s)")
    parser.add_argument("--timeout", type=_count, default=900, help="seconds for an answer (%(default)s)")
    parser.add_argument(
        "--cold", type=_count, default=0, metavar="N", help="also ask for N answers of new environments"
    )
    by = "concurrency: N at a time, which changes nothing; configuration: a variable of the function is changed "
    by += "before each of them and put back ($LATEST only)"
    parser.add_argument("--cold-by", choices=("concurrency", "configuration"), default="concurrency", help=by)
    args = parser.parse_args(arguments)
    if args.cold_by == "configuration" and (not args.function or ":" in args.function):
        parser.error("--cold-by configuration needs --function without an alias: a published version never changes")
    if args.url and (urlsplit(args.url).scheme not in ("http", "https") or not urlsplit(args.url).hostname):
        parser.error(f"--url {args.url!r} is no URL: expected https://….lambda-url.REGION.on.aws/")
    if not args.region:
        parser.error("no region: set AWS_REGION, or --region")
    return args


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 100000")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 1 if nothing was answered."""
    args = parse(arguments, os.environ)
    try:
        found = measure(args, os.environ)
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(found)
    print(json.dumps({"bench": "deployed", "target": args.function or args.url, **found}))
    return 0 if found["cold_share"] is not None else 1


if __name__ == "__main__":
    sys.exit(main())
