from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.llama_cpp.__main__ import main
from bench.llama_cpp.errors import RunFailed
from bench.llama_cpp.speed import LlamaServer, figures, speed
from tests.bench.llama_cpp.conftest import Install

# In place of llama-bench: every combination of what it is asked, each 10 tokens per second.
BENCH = f"""#!{sys.executable}
import json, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
lists = [given.get(name, "0").split(",") for name in ("-p", "-n", "-d")]
print(json.dumps([
    {{"n_prompt": int(p), "n_gen": int(n), "n_depth": int(d), "flash_attn": int(a == "on"), "avg_ts": 10.0}}
    for p in lists[0] for n in lists[1] for d in lists[2] for a in given["-fa"].split(",")
]))
"""
# In place of llama-server: unwell once, then well.
SERVER = f"""#!{sys.executable}
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    well = False

    def do_GET(self):
        self.send_response(200 if Handler.well else 503)
        Handler.well = True
        self.end_headers()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        timings = {{"prompt_n": len(asked["prompt"]), "predicted_n": asked["n_predict"]}}
        self.wfile.write(json.dumps({{"timings": timings}}).encode())

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


def test_rows_are_named_by_what_they_measure() -> None:
    rows = [
        {"n_prompt": 128, "n_gen": 0, "n_depth": 0, "flash_attn": 1, "avg_ts": 21.456},
        {"n_prompt": 0, "n_gen": 32, "n_depth": 4096, "flash_attn": 0, "avg_ts": 5.6},
    ]
    assert figures(rows) == {"on": {"prefill_128": 21.46}, "off": {"decode_4096": 5.6}}


def test_everything_is_measured_with_and_without_flash_attention(install: Install) -> None:
    install("llama-bench", BENCH)
    found = speed(Path("x.gguf"), "avx2", 2)
    assert found["on"].keys() == {"prefill_128", "prefill_512", "decode_0", "decode_4096"}
    assert found["on"] == found["off"]


def test_a_failing_bench_is_quoted(install: Install) -> None:
    install("llama-bench", "#!/bin/sh\necho no such model >&2\nexit 1\n")
    with pytest.raises(RunFailed, match="exited with 1: no such model"):
        speed(Path("x.gguf"), "avx2", 2)


def test_the_command_ends_in_one_json_line(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("llama-bench", BENCH)
    assert main(["bench", "--gguf", "x.gguf", "--prefill", "16", "--depth", "0"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["tokens_per_second"]["on"] == {"prefill_16": 10.0, "decode_0": 10.0}
    assert result["machine"]["read_gb_per_s"] > 0


def test_the_command_tells_what_is_not_built(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--gguf", "x.gguf"]) == 2
    assert "bench.llama_cpp build --isa avx2" in capsys.readouterr().err


def test_a_server_is_waited_for_and_asked(install: Install) -> None:
    install("llama-server", SERVER)
    with LlamaServer(Path("x.gguf"), "avx2", 1, 64, flash_attention=True) as server:
        assert server.ready_ms > 0
        assert server.complete([1, 2, 3], 5) == {"prompt_n": 3, "predicted_n": 5}
        assert server.memory()["peak"] > 0
    assert server.process.returncode is not None


def test_a_server_that_ends_is_an_error(install: Install) -> None:
    install("llama-server", "#!/bin/sh\nexit 4\n")
    with pytest.raises(RunFailed, match="exited with 4"):
        LlamaServer(Path("x.gguf"), "avx2", 1, 64, flash_attention=False)
