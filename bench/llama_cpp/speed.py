"""How fast llama.cpp is, by its own bench and by its own server."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.llama_cpp.build import program
from bench.llama_cpp.errors import RunFailed
from bench.port import free_port
from bench.server import process_memory

Row = Mapping[str, Any]


def speed(
    gguf: Path,
    isa: str,
    threads: int,
    prefill: Sequence[int] = (128, 512),
    depths: Sequence[int] = (0, 4096),
    tokens: int = 32,
    repetitions: int = 3,
) -> dict[str, dict[str, float]]:
    """Run llama-bench with flash attention on and off.

    Args:
        gguf: the model.
        isa: the variant of llama.cpp.
        threads: to compute with.
        prefill: lengths of prompts.
        depths: tokens in the cache before those that are decoded.
        tokens: to decode.
        repetitions: of each, the mean counts.

    Returns:
        tokens per second, `{"on": {"prefill_128": …, "decode_4096": …}, "off": {…}}`.

    Raises:
        NotBuilt: llama-bench isn't there.
        RunFailed: it ended with an error.
    """
    common = ["-m", str(gguf), "-t", str(threads), "-r", str(repetitions), "-fa", "on,off", "-o", "json"]
    bench = [str(program("llama-bench", isa)), *common]
    rows = _bench([*bench, "-p", _list(prefill), "-n", "0"])
    return figures(rows + _bench([*bench, "-p", "0", "-n", str(tokens), "-d", _list(depths)]))


def figures(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """Tokens per second of llama-bench's rows, by flash attention and by what was measured."""
    found: dict[str, dict[str, float]] = {"on": {}, "off": {}}
    for row in rows:
        name = f"prefill_{row['n_prompt']}" if row["n_prompt"] else f"decode_{row['n_depth']}"
        found["on" if row["flash_attn"] in (1, "on", True) else "off"][name] = round(float(row["avg_ts"]), 2)
    return found


def _bench(command: Sequence[str]) -> list[Row]:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RunFailed(f"llama-bench exited with {done.returncode}: {done.stderr.strip()[-500:]}")
    rows: list[Row] = json.loads(done.stdout)
    return rows


def _list(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


class LlamaServer:
    """llama-server on a free port; what `bench.server.Server` is for ours."""

    def __init__(self, gguf: Path, isa: str, threads: int, context: int, flash_attention: bool) -> None:
        """Start it, with one slot, and wait until it is ready.

        Raises:
            NotBuilt: llama-server isn't there.
            RunFailed: it ends instead.
        """
        self._port = free_port()
        options = ["-t", threads, "-c", context, "-fa", "on" if flash_attention else "off", "-np", 1, "--offline"]
        command = [program("llama-server", isa), "-m", gguf, "--port", self._port, "--no-ui", *options]
        started = time.perf_counter()
        # Its log goes nowhere: a pipe that nobody reads would fill and stop it.
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(list(map(str, command)), stdout=quiet, stderr=quiet)
        while not self._healthy():
            if self.process.poll() is not None:
                raise RunFailed(f"llama-server exited with {self.process.returncode} for {gguf}")
            time.sleep(0.005)
        self.ready_ms = (time.perf_counter() - started) * 1e3

    def __enter__(self) -> LlamaServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait()

    def complete(self, prompt_ids: list[int], max_tokens: int) -> dict[str, Any]:
        """Complete token ids greedily, past any end of text; gives the server's timings."""
        body = {"prompt": prompt_ids, "n_predict": max_tokens, "temperature": 0, "cache_prompt": False}
        status, answer = self._request("POST", "/completion", json.dumps({**body, "ignore_eos": True}))
        if status != 200:
            raise RunFailed(f"llama-server answered {status}: {answer.decode(errors='replace')}")
        timings: dict[str, Any] = json.loads(answer)["timings"]
        return timings

    def memory(self) -> dict[str, int]:
        """Memory of the process in bytes: peak, now, anonymous, of files."""
        return process_memory(self.process.pid)

    def _healthy(self) -> bool:
        try:
            return self._request("GET", "/health")[0] == 200
        except OSError:
            return False

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
