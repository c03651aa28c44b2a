"""`python -m handler.doctor [MODEL_DIR]`: what this machine is, and what an artefact would run on."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from handler.artefact import load_artefact
from handler.engine.kernels import Description, describe, given_library, library_path
from handler.engine.prefixes import read_prefix
from handler.engine.threads import resolve_threads, thread_limits
from handler.errors import StartupError
from handler.start.machine import cpu_fields, read_bandwidth


def examine(environ: Mapping[str, str], model_dir: Path | None) -> dict[str, Any]:
    """Find out everything that `report` prints.

    Args:
        environ: the environment.
        model_dir: an artefact, or None.

    Raises:
        SettingsError: a number of threads that can't be.
    """
    threads, limits = resolve_threads(environ), thread_limits(environ)
    smallest = min(limits, key=lambda source: limits[source])
    kernels = _kernels(library_path(given_library(environ)))
    return {
        "cpu": cpu_fields().get("model name", platform.machine()),
        "threads": threads,
        "threads_from": smallest,
        "thread_limits": limits,
        "read_gb_per_s": round(read_bandwidth(threads) / 1e9, 1),
        "kernels": kernels,
        "artefact": None if model_dir is None else _artefact(model_dir, kernels),
    }


def _kernels(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"library": str(path), "version": None, "isa": None, "available": [], "reason": None}
    if not path.is_file():
        return {**found, "reason": "the library is missing; `make setup` builds it where there is cargo"}
    try:
        said = describe(path)
    except StartupError as error:
        return {**found, "reason": str(error)}
    return {
        **found,
        "version": said.version,
        "isa": said.isa,
        "available": list(said.available),
        "reason": _reason(said),
    }


def _reason(said: Description) -> str:
    if said.error is not None:
        return said.error
    return "FIREBRICK_ISA names it" if said.forced else "the best that this processor and this library have"


def _artefact(directory: Path, kernels: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"directory": str(directory), "kernels": None, "kv_cache_dtype": None, "obstacle": None}
    try:
        artefact = load_artefact(directory, "quick")
        for name in artefact.prefixes:
            read_prefix(directory / name, artefact)
    except StartupError as error:
        return {**found, "obstacle": str(error)}
    found |= {"kernels": artefact.kernels, "kv_cache_dtype": artefact.kv_cache_dtype}
    if artefact.kernels == "native" and kernels["isa"] is None:
        found["obstacle"] = f"it asks for native kernels: {kernels['reason']}"
    return found


def report(found: Mapping[str, Any]) -> str:
    """Put what `examine` found into a few lines."""
    kernels, artefact = found["kernels"], found["artefact"]
    limits = ", ".join(f"{source} {limit:g}" for source, limit in found["thread_limits"].items())
    version = f" {kernels['version']}" if kernels["version"] else ""
    lines = [
        f"processor  {found['cpu']}",
        f"threads    {found['threads']}, by {found['threads_from']} ({limits})",
        f"memory     {found['read_gb_per_s']} GB/s read by {found['threads']} threads",
        f"library   {version} {kernels['library']}",
        f"native     {kernels['isa'] or 'not usable'}: {kernels['reason']}",
    ]
    if kernels["available"]:
        lines.append(f"           available here: {', '.join(kernels['available'])}")
    if artefact:
        wants = f"{artefact['kernels']} kernels, {artefact['kv_cache_dtype']} cache" if artefact["kernels"] else ""
        lines.append(f"artefact   {artefact['directory']}: {artefact['obstacle'] or f'{wants}; can be served'}")
    return "\n".join(lines)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command.

    Returns:
        The exit code: 0, or 2 if a setting is wrong or the artefact can't be served here.
    """
    parser = argparse.ArgumentParser("python -m handler.doctor", description="Say what would be used here, and why.")
    parser.add_argument("model_dir", nargs="?", type=Path, metavar="MODEL_DIR", help="an artefact to be served")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    given = parser.parse_args(arguments)
    try:
        found = examine(environ, given.model_dir)
    except StartupError as error:
        print(f"firebrick: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(found) if given.json else report(found))
    return 2 if found["artefact"] and found["artefact"]["obstacle"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
