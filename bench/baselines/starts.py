"""One start of a program: exec, ready, the first token, and how fast it goes on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.baselines.programs import Program, environment
from bench.cold_start.disk import die_with_parent
from bench.cold_start.prompts import TOKENS, invented
from bench.server import process_memory

TICKS = os.sysconf("SC_CLK_TCK")
WARM = 3  # ids by which a later prompt differs, so that no cache has read it


@dataclass(frozen=True)
class Start:
    """Times in seconds, memory in bytes.

    Attributes:
        ready: from exec until a request could be taken.
        first_token: from exec to the first token of a prompt of 128.
        warm_first_token: from a later request of such a prompt to its first token.
        tokens_per_second: behind it.
        processor_ready: processor time of the program up to ready.
        processor: the same up to the first token.
        processor_per_token: the same of each token behind it.
        peak: its most memory.
    """

    ready: float
    first_token: float
    warm_first_token: float
    tokens_per_second: float
    processor_ready: float
    processor: float
    processor_per_token: float
    peak: int


def measure(program: Program, tokens: int, enter: Callable[[], None] | None = None) -> Start:
    """Start a program, ask it, end it.

    Args:
        program: which.
        tokens: of the answer whose speed is measured.
        enter: run in the new process before exec, such as to change its root.

    Raises:
        Unavailable: it doesn't start.
    """

    def begin() -> None:
        die_with_parent()
        if enter is not None:
            enter()

    begun = time.perf_counter()
    process = subprocess.Popen(
        program.command,
        env=environment(program),
        preexec_fn=begin,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        asked = program.ready(process)
        ready, processor_ready = time.perf_counter() - begun, processor_s(process.pid)
        asked.ask(invented(TOKENS), 1)
        first_token, processor = time.perf_counter() - begun, processor_s(process.pid)
        one = asked.ask([WARM + number for number in invented(TOKENS)], 1)
        processor_one = processor_s(process.pid) - processor
        several = asked.ask([2 * WARM + number for number in invented(TOKENS)], 1 + tokens)
        processor_several = processor_s(process.pid) - processor - processor_one
        # A function gives all of them at once, so the prompt's time is another answer's.
        first = several.first if several.first < several.total else one.total
        rate = (several.tokens - 1) / (several.total - first)
        peak = process_memory(process.pid)["peak"]
    finally:
        process.terminate()
        process.communicate()
    per_token = (processor_several - processor_one) / tokens
    return Start(ready, first_token, one.first, rate, processor_ready, processor, per_token, peak)


def processor_s(pid: int) -> float:
    """Processor time of a process and of its children that have ended, in seconds."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS
