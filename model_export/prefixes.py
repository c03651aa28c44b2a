"""Caches of prompts' beginnings in the artefact, computed as the server would: by the handler's own code.

It runs in a process of its own; nothing of it is imported here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_export import artefact
from model_export.errors import ArtefactInvalid, PrefixFailed, PrefixRefused, VerificationFailed
from model_export.reading import ReadArtefact, read_metadata, read_tensors

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "handler.prefixing")


def check(stage: Path, files: Sequence[Path]) -> None:
    """Refuse what can't be a prefix, before the work of an export.

    Args:
        stage: holds a tokenizer and a description; the weights and the manifest may be missing.
        files: from `--prefix`.

    Raises:
        PrefixRefused: one of them can't be a prefix.
        PrefixFailed: the handler's process failed.
    """
    if files:
        _run("--check", stage, *files)


def finish(
    stage: Path, known: Mapping[str, str], files: Sequence[Path], threads: int, more_tools: Sequence[str] = ()
) -> None:
    """Write the prefixes, and the manifest over everything.

    Args:
        stage: a complete artefact but for these.
        known: sha256 of files that were hashed while they were written.
        files: from `--prefix`.
        threads: of the engine that computes them.
        more_tools: as for `artefact.write_manifest`.

    Raises:
        PrefixRefused: one of them can't be a prefix, or the artefact can't be run here.
        PrefixFailed: the handler's process failed.
    """
    artefact.write_manifest(stage, known, more_tools)
    if files:
        _run(stage, *files, FIREBRICK_THREADS=str(threads))
        artefact.write_manifest(stage, known, more_tools)


def _run(*words: object, **variables: str) -> None:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environ = {**os.environ, **variables, "PYTHONPATH": path}
    done = subprocess.run([*COMMAND, *map(str, words)], env=environ, capture_output=True, text=True)
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    if done.returncode == 2:
        raise PrefixRefused(f"--prefix: {said.removeprefix('firebrick: ')}")
    if done.returncode:
        raise PrefixFailed(f"--prefix: the engine failed: {said}")
    print(done.stdout, end="", file=sys.stderr, flush=True)


def verify_prefixes(read: ReadArtefact) -> list[int]:
    """Look whether the prefixes were computed with this graph and these weights.

    Returns:
        the number of tokens of each.

    Raises:
        ArtefactInvalid: a file is no whole safetensors file.
        VerificationFailed: it was computed with others.
    """
    key = cache_key(read.manifest)
    for path in prefix_files(read):
        if read_metadata(path).get("cache_key") != key:
            raise VerificationFailed(f"{path} was computed with another graph or weights; export the model again")
    return prefix_tokens(read)


def prefix_tokens(read: ReadArtefact) -> list[int]:
    """How many tokens each prefix has.

    Raises:
        ArtefactInvalid: a file is no whole prefix.
    """
    tokens = []
    for path in prefix_files(read):
        ids = read_tensors(path).get("ids")
        if ids is None or len(ids.shape) != 1:
            raise ArtefactInvalid(f"{path} has no token ids: export the model again")
        tokens.append(ids.shape[0])
    return tokens


def prefix_files(read: ReadArtefact) -> list[Path]:
    """The prefixes' files, in their order."""
    names = filter(artefact.PREFIX.fullmatch, read.manifest["files"])
    return [read.directory / name for name in sorted(names, key=lambda name: (len(name), name))]


def cache_key(manifest: Mapping[str, Any]) -> str:
    """What a prefix says of the graph and the weights that it was computed with; docs/artefact.md has the rule."""
    hashes = "".join(manifest["files"][name]["sha256"] for name in (artefact.GRAPH, artefact.WEIGHTS))
    return hashlib.sha256(hashes.encode()).hexdigest()
