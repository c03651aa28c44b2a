"""How many threads the engine gets: what was asked for, else the processors that this container really has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from handler.engine.cgroup import directories, read_text
from handler.errors import SettingsError

MEGABYTES_PER_VCPU = 1769  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html


def resolve_threads(environ: Mapping[str, str], root: Path = Path("/")) -> int:
    """Choose the number of threads.

    `FIREBRICK_THREADS`, else `OMP_NUM_THREADS`, else the smallest of the affinity mask, the cgroup's quota
    (version 1 or 2) and what Lambda's memory size buys; a fractional quota is rounded, and 1 is the least.

    Args:
        environ: the environment.
        root: where /proc and /sys are looked for.

    Raises:
        SettingsError: one of the variables isn't a positive number.
    """
    return max(1, round(min(thread_limits(environ, root).values())))


def thread_limits(environ: Mapping[str, str], root: Path = Path("/")) -> dict[str, float]:
    """Name everything that `resolve_threads` chooses the smallest of, in processors; what was asked for stands alone.

    Raises:
        SettingsError: one of the variables isn't a positive number.
    """
    for key in ("FIREBRICK_THREADS", "OMP_NUM_THREADS"):
        if environ.get(key):
            return {key: float(_asked_for(key, environ[key]))}
    limits = {"affinity mask": float(len(os.sched_getaffinity(0)))}
    quotas = list(cgroup_quotas(root))
    if quotas:
        limits["cgroup quota"] = min(quotas)
    if environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "").isdecimal():
        limits["Lambda memory size"] = int(environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) / MEGABYTES_PER_VCPU
    return limits


def _asked_for(key: str, value: str) -> int:
    first = value.split(",")[0].strip()  # OMP_NUM_THREADS may be a list, one entry a nesting level
    if not first.isdecimal() or len(first) > 9 or not 0 < int(first) <= 1024:
        raise SettingsError(key, value, "a number of threads from 1 to 1024")
    return int(first)


def cgroup_quotas(root: Path = Path("/")) -> Iterator[float]:
    """Give every CPU quota that applies to this process, in processors; a group's parents count too."""
    for version, directory in directories("cpu", root):
        if version == 2:
            quota, _, period = read_text(directory / "cpu.max").partition(" ")
            yield from _quota(quota, period)
        else:
            files = (directory / "cpu.cfs_quota_us", directory / "cpu.cfs_period_us")
            yield from _quota(*map(read_text, files))


def _quota(quota: str, period: str) -> Iterator[float]:
    if quota.strip().isdecimal() and period.strip().isdecimal() and int(period) > 0:
        yield int(quota) / int(period)
