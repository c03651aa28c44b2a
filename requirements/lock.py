"""Pin the requirements of pyproject.toml anew, with hashes: `make lock`.

runtime ⊂ worker, export ⊂ tools ⊂ dev share their versions. The reference set is resolved apart, for the Python that
runs this: hashing every platform's wheels of torch would mean downloading them all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
COMPILE = [
    *(sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--strip-extras", "--allow-unsafe"),
    *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links", "--no-header", "--no-annotate"),
]
RESOLVE = [
    *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"),
    *("--only-binary", ":all:", "--report", "-"),
]


def lock_portable() -> None:
    """Pin the sets that any platform may install."""
    widest = HERE / "dev.txt"
    _compile(widest, "export", "worker", "tools", "dev")
    sets = (("tools", ["export", "tools"]), ("export", ["export"]), ("worker", ["worker"]), ("runtime", []))
    for name, extras in sets:
        _compile(HERE / f"{name}.txt", *extras, constraints=widest)


def _compile(out: Path, *extras: str, constraints: Path | None = None) -> None:
    wanted = [word for extra in extras for word in ("--extra", extra)]
    bounds = ["-c", str(constraints)] if constraints else []
    subprocess.run([*COMPILE, *bounds, *wanted, "-o", str(out), str(PROJECT)], check=True)


def lock_checkov() -> None:
    """Pin checkov, which has an environment of its own, since it wants older versions of much that others have too."""
    wanted = HERE / "checkov.in"
    subprocess.run([*COMPILE, "-o", str(HERE / "checkov.txt"), str(wanted)], check=True)


def lock_clients() -> None:
    """Pin the clients that tests/frameworks tries, which want other versions of much that we have too.

    They name their own versions, for pip goes through hundreds of them until they agree.
    """
    subprocess.run([*COMPILE, "-o", str(HERE / "clients.txt"), str(HERE / "clients.in")], check=True)


def lock_reference() -> None:
    """Pin the set with torch."""
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    report = json.loads(subprocess.check_output([*RESOLVE, *extras["reference"]]))
    lines = []
    for item in sorted(report["install"], key=lambda item: str(item["metadata"]["name"]).lower()):
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{item['metadata']['name']}=={item['metadata']['version']} \\\n    --hash=sha256:{digest}\n")
    (HERE / "reference.txt").write_text("".join(lines))


if __name__ == "__main__":
    lock_portable()
    lock_checkov()
    lock_clients()
    lock_reference()
