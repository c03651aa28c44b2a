"""Logits of a GGUF file by llama.cpp itself, from the same token ids that our artefacts get."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from bench.llama_cpp.build import LOGITS, program
from bench.llama_cpp.errors import RunFailed


class GgufJudged:
    """A GGUF file whose answers are measured; what `bench.logits.Judged` is for an artefact."""

    def __init__(self, gguf: Path, stop: Collection[int], context: int, threads: int, isa: str = "avx2") -> None:
        """Load it in a process of its own.

        Args:
            gguf: the file.
            stop: end-of-text tokens, for `greedy`.
            context: positions that a sequence may have.
            threads: to compute with.
            isa: the variant of llama.cpp.

        Raises:
            NotBuilt: llama.cpp isn't there.
            RunFailed: it refuses the file.
        """
        self._name, self._stop = gguf.name, stop
        command = [str(program(LOGITS, isa)), str(gguf), str(context), str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        (self._vocab_size,) = np.frombuffer(self._read(4), dtype=np.int32).tolist()

    def __enter__(self) -> GgufJudged:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._end()

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run one sequence `(S,)` from an empty cache; gives `(S, vocab_size)`."""
        return self._ask(0, ids)

    def greedy(self, prompt: list[int], tokens: int) -> list[int]:
        """Continue a prompt with the likeliest tokens until an end-of-text token."""
        found: list[int] = []
        row = self._ask(0, prompt)[-1]
        while len(found) < tokens and (token := int(row.argmax())) not in self._stop:
            found.append(token)
            row = self._ask(len(prompt) + len(found) - 1, [token])[-1]
        return found

    def _ask(self, past: int, ids: NDArray[np.int64] | list[int]) -> NDArray[np.float32]:
        assert self._process.stdin is not None
        question = np.array([past, len(ids), *ids], dtype=np.int32)
        try:
            self._process.stdin.write(question.tobytes())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # _read says why
        answer = np.frombuffer(self._read(4 * len(ids) * self._vocab_size), dtype=np.float32)
        return answer.reshape(len(ids), self._vocab_size)

    def _end(self) -> None:
        """Wait for the process and close both pipes."""
        if self._process.returncode is None:
            self._process.communicate()

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        if len(data) < size:
            self._end()
            raise RunFailed(f"llama.cpp ended with exit code {self._process.returncode} at {self._name}")
        return data
