"""How far an export is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

LINE_INTERVAL = 10.0  # seconds between plain lines


class Progress:
    """Counts bytes written, or otherwise done with; shows tensor names, bytes and time left."""

    def __init__(self, total: int, stream: TextIO = sys.stderr, done: str = "written") -> None:
        """Start at zero of `total` bytes; `done` says what is being done with them."""
        self._total, self._done, self._stream, self._verb = total, 0, stream, done
        self._started = self._shown = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if stream.isatty():
            self._bar = tqdm(total=total, unit="B", unit_scale=True, file=stream, dynamic_ncols=True)

    def advance(self, name: str, count: int) -> None:
        """Count bytes of the tensor that is being written."""
        self._done += count
        if self._bar is not None:
            self._bar.set_description(name, refresh=False)
            self._bar.update(count)
        elif (now := time.monotonic()) - self._shown >= LINE_INTERVAL:
            self._shown = now
            left = (now - self._started) * (self._total - self._done) / max(self._done, 1)
            self._line(f"{name}, about {left:.0f} s left")

    def close(self) -> None:
        """End the bar, or say that all is written."""
        if self._bar is not None:
            self._bar.close()
        else:
            self._line(f"{self._verb} in {time.monotonic() - self._started:.1f} s")

    def _line(self, text: str) -> None:
        share = self._done / self._total if self._total else 1.0
        megabytes = f"{self._done / 1e6:,.1f} of {self._total / 1e6:,.1f} MB"
        print(f"{share:4.0%}  {megabytes}  {text}", file=self._stream, flush=True)
