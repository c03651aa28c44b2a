"""`python -m bench.scaling`: what a month costs, by where the model runs.

Nothing is measured here: speeds are given, prices are read from handler/prices.json, and the rest is arithmetic. The
last line is JSON. docs/scaling.md says what the columns leave out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

PRICES = Path(__file__).parents[1] / "handler" / "prices.json"
HOURS = 730  # of a month
DAY_S = 86_400
DAYS = HOURS / 24
UTILIZATIONS = (0.01, 0.05, 0.15, 0.4, 0.7, 1.0, 2.0, 5.0)
# https://aws.amazon.com/elasticloadbalancing/pricing/: what one capacity unit has room for
CONNECTIONS_A_SECOND, BYTES_AN_HOUR = 25, 10**9
TOKEN_BYTES = 250  # of a streamed chunk


class PricesMissing(Exception):
    """The price file isn't there, or lacks the region or the instance."""


@dataclass(frozen=True)
class Load:
    """What is asked, and how fast one answer is on the processors that each back end has.

    Attributes:
        requests_per_day: on average.
        prompt_tokens: of a request.
        answer_tokens: of its answer.
        prefill: prompt tokens a second.
        decode: tokens a second of an answer that is alone.
        cold_share: of the requests, that wait for a cold start and pay for it.
        cold_s: seconds of a cold start.
        peak: the busiest hour's requests over the average hour's.
    """

    requests_per_day: float
    prompt_tokens: float
    answer_tokens: float
    prefill: float
    decode: float
    cold_share: float
    cold_s: float
    peak: float

    @property
    def busy_s(self) -> float:
        """Seconds that a request takes of an environment."""
        return self.prompt_tokens / self.prefill + self.answer_tokens / self.decode

    @property
    def utilization(self) -> float:
        """How many environments are busy on average."""
        return self.requests_per_day * self.busy_s / DAY_S

    def at(self, utilization: float) -> Load:
        """The same requests, as many as keep so many environments busy."""
        return dataclasses.replace(self, requests_per_day=utilization * DAY_S / self.busy_s)


@dataclass(frozen=True)
class Size:
    """What there is.

    Attributes:
        memory_gb: of a function's environment.
        vcpu: of a task, as many as the function's memory buys, so that both are as fast.
        task_gb: memory of a task.
        together: tokens a second of all a task's slots over those of one answer.
        minimum_tasks: that run always.
        headroom: the part of a task's capacity that is planned for.
    """

    memory_gb: float
    vcpu: float
    task_gb: float
    together: float
    minimum_tasks: int
    headroom: float


def tasks(load: Load, size: Size, requests_per_day: float) -> int:
    """How many tasks a load takes: prompts are read one after the other, tokens of all slots are made together."""
    each_s = load.prompt_tokens / load.prefill + load.answer_tokens / (load.decode * size.together)
    return max(size.minimum_tasks, ceil(requests_per_day / DAY_S * each_s / size.headroom - 1e-9))


def lambda_usd(load: Load, size: Size, prices: Mapping[str, Any]) -> float:
    """A month of the function on demand; init time is billed since August 2025."""
    duration_s = load.busy_s + load.cold_share * load.cold_s
    each: float = duration_s * size.memory_gb * prices["gb_second"] + prices["request"]
    return load.requests_per_day * DAYS * each


def environments(load: Load) -> int:
    """How many environments the busiest hour takes."""
    return max(1, ceil(load.utilization * load.peak - 1e-9))


def provisioned_usd(load: Load, size: Size, prices: Mapping[str, Any]) -> float:
    """A month with as many environments kept awake, day and night, as the busiest hour takes: no cold start."""
    awake: float = environments(load) * size.memory_gb * HOURS * 3600 * prices["provisioned_gb_second"]
    each: float = load.busy_s * size.memory_gb * prices["provisioned_duration_gb_second"] + prices["request"]
    return awake + load.requests_per_day * DAYS * each


def fargate_usd(load: Load, size: Size, prices: Mapping[str, Any], balancer: Mapping[str, Any]) -> float:
    """A month of the service and its load balancer, half of it sized for the average hour, half for the busiest."""
    task = size.vcpu * prices["vcpu_hour"] + size.task_gb * prices["gb_hour"]
    average = (tasks(load, size, load.requests_per_day) + tasks(load, size, load.requests_per_day * load.peak)) / 2
    a_second = load.requests_per_day / DAY_S
    units = max(a_second / CONNECTIONS_A_SECOND, a_second * 3600 * load.answer_tokens * TOKEN_BYTES / BYTES_AN_HOUR)
    each: float = average * task + balancer["hour"] + units * balancer["lcu_hour"]
    return HOURS * each


def costs(load: Load, size: Size, region: Mapping[str, Any], architecture: str, gpu: str) -> dict[str, float]:
    """US dollars a month, by back end; a GPU is one instance, whatever it could do."""
    prices = {**region["lambda"][architecture], "request": region["lambda"]["request"]}
    return {
        "lambda": lambda_usd(load, size, prices),
        "provisioned": provisioned_usd(load, size, prices),
        "fargate": fargate_usd(load, size, region["fargate"][architecture], region["load_balancer"]),
        "gpu": HOURS * region["ec2_instance_hour"][gpu],
    }


def break_even(
    load: Load, size: Size, region: Mapping[str, Any], architecture: str, gpu: str, other: str
) -> float | None:
    """The utilization from which on another back end costs no more than functions on demand; None if there is none."""

    def cheaper(utilization: float) -> bool:
        found = costs(load.at(utilization), size, region, architecture, gpu)
        return found[other] <= found["lambda"]

    steps = [0.001 * 1.01**step for step in range(1400)]
    last_dear = max((step for step in steps if not cheaper(step)), default=0.0)
    first = next((step for step in steps if step > last_dear), None)
    return None if first is None or first > 1000 else first


def read_region(path: Path, region: str, gpu: str) -> Mapping[str, Any]:
    """Read a region's prices.

    Raises:
        PricesMissing: there is no such file, region or instance.
    """
    try:
        regions: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["regions"]
    except (OSError, ValueError, KeyError) as error:
        raise PricesMissing(f"{path} can't be read as a price file: {error}") from None
    if region not in regions:
        raise PricesMissing(f"--region {region} is not in {path}, which has {', '.join(sorted(regions))}")
    found: Mapping[str, Any] = regions[region]
    if gpu not in found["ec2_instance_hour"]:
        raise PricesMissing(f"--gpu {gpu} is not in {path}, which has {', '.join(sorted(found['ec2_instance_hour']))}")
    return found


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    made = argparse.ArgumentParser(
        "python -m bench.scaling", description="What a month costs, by where the model runs."
    )
    positive = _number(0.001, 1e9)
    made.add_argument("--tokens-per-second", type=positive, required=True, help="of one answer that is alone")
    made.add_argument("--requests-per-day", type=positive, required=True)
    made.add_argument("--prefill-tokens-per-second", type=positive, help="default: 3.5 times --tokens-per-second")
    made.add_argument("--prompt-tokens", type=positive, default=500)
    made.add_argument("--answer-tokens", type=positive, default=200)
    made.add_argument("--cold-percent", type=_number(0, 100), default=2, help="of the requests (default 2)")
    made.add_argument("--cold-s", type=_number(0, 600), default=6, help="seconds of a cold start (default 6)")
    made.add_argument("--peak", type=_number(1, 1000), default=3, help="busiest hour over average hour (default 3)")
    made.add_argument("--memory-mb", type=_number(128, 10240), default=3538, help="of the function (default 3538)")
    made.add_argument("--vcpu", type=positive, default=2, help="of a task, as many as --memory-mb buys (default 2)")
    made.add_argument("--task-gb", type=positive, default=8, help="memory of a task (default 8)")
    made.add_argument(
        "--together", type=_number(1, 64), default=2.6, help="a task's slots over one answer (default 2.6)"
    )
    made.add_argument("--minimum-tasks", type=int, default=1, help="that run always (default 1)")
    made.add_argument("--headroom", type=_number(0.05, 1), default=0.7, help="of a task's capacity (default 0.7)")
    made.add_argument("--gpu", default="g6.xlarge", help="an instance of the price file (default g6.xlarge)")
    made.add_argument("--region", default="us-east-1")
    made.add_argument("--architecture", choices=("x86_64", "arm64"), default="x86_64")
    made.add_argument("--prices", type=Path, default=PRICES, help="another price file")
    return made


def _number(low: float, high: float) -> Any:
    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low:g} to {high:g}")
        return value

    return number


def main(arguments: Sequence[str]) -> int:
    """Print the table; returns the exit code: 0, or 2 if prices are missing."""
    given = parser().parse_args(arguments)
    try:
        region = read_region(given.prices, given.region, given.gpu)
    except PricesMissing as error:
        print(f"firebrick: {error}", file=sys.stderr)
        return 2
    decode = given.tokens_per_second
    prefill = given.prefill_tokens_per_second or 3.5 * decode
    cold = (given.cold_percent / 100, given.cold_s)
    load = Load(given.requests_per_day, given.prompt_tokens, given.answer_tokens, prefill, decode, *cold, given.peak)
    size = Size(given.memory_mb / 1024, given.vcpu, given.task_gb, given.together, given.minimum_tasks, given.headroom)
    others = (region, given.architecture, given.gpu)
    rows = [(step, load.at(step)) for step in UTILIZATIONS]
    print(f"{given.region}, {given.architecture}: a request takes {load.busy_s:.1f} s of an environment\n")
    _print_table([*rows, (load.utilization, load)], size, others)
    even = {other: break_even(load, size, *others, other) for other in ("provisioned", "fargate", "gpu")}
    print()
    for other, utilization in even.items():
        print(_told(other, utilization, load))
    result = {
        "utilization": round(load.utilization, 4),
        "busy_s": round(load.busy_s, 3),
        "usd_per_month": {name: round(usd, 2) for name, usd in costs(load, size, *others).items()},
        "break_even_utilization": {name: None if at is None else round(at, 3) for name, at in even.items()},
        "load": dataclasses.asdict(load),
        "size": dataclasses.asdict(size),
    }
    print(json.dumps(result))
    return 0


def _print_table(rows: Sequence[tuple[float, Load]], size: Size, others: tuple[Mapping[str, Any], str, str]) -> None:
    print(
        f"{'busy':>7} {'requests/day':>13} {'Lambda':>9} {'provisioned':>12} {'Fargate':>9} {'tasks':>6}",
        f"{others[2]:>10}",
    )
    for index, (utilization, load) in enumerate(rows):
        found = costs(load, size, *others)
        count = tasks(load, size, load.requests_per_day * load.peak)
        mark = "  <- yours" if index == len(rows) - 1 else ""
        print(
            f"{utilization:7.1%} {load.requests_per_day:13,.0f} {found['lambda']:9,.0f} {found['provisioned']:12,.0f} "
            f"{found['fargate']:9,.0f} {count:6d} {found['gpu']:10,.0f}{mark}"
        )


def _told(other: str, utilization: float | None, load: Load) -> str:
    name = {"provisioned": "provisioned concurrency", "fargate": "Fargate", "gpu": "one GPU instance"}[other]
    if utilization is None:
        return f"{name} never costs less than functions on demand"
    requests = load.at(utilization).requests_per_day
    return f"{name} costs less from {utilization:.0%} of one environment on, {requests:,.0f} requests a day"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
