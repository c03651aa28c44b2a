"""What the Dockerfile's building stages do; runs there, on the base's Python, with nothing but its standard library."""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from py_compile import PycInvalidationMode

SECRETS = Path("/run/secrets")
HASH_SEED = "0"  # sets of constants are written in an order that the seed decides
# What no function needs: command lines, the packages' own tests, what only a compiler or a type checker reads.
SUPERFLUOUS = (
    *("bin", "**/tests", "**/test", "**/include"),
    *(f"**/*.{end}" for end in ("a", "c", "h", "pxd", "pyx", "pyi")),
    "onnxruntime/capi/libonnxruntime.so*",  # for programs in C; Python's module has all of it once more
    *(f"onnxruntime/{name}" for name in ("backend", "datasets", "quantization", "tools", "transformers")),
    *("numpy/distutils", "numpy/f2py"),
)
TRIED = (
    "numpy",
    "onnxruntime",
    "kitoken",
    "jinja2",
    "starlette",
    "uvicorn",
    "handler.http.app",
    "handler.engine.engine",
)
LIBRARY = "handler/libfirebrick_kernels.so"


def difference(requirements: str, without: str) -> str:
    """Return the pinned requirements that the other set doesn't have, hashes included.

    Raises:
        ValueError: the sets pin something differently.
    """
    wanted, there = _pins(requirements), _pins(without)
    differing = sorted(name for name in wanted.keys() & there.keys() if wanted[name] != there[name])
    if differing:
        raise ValueError(f"the requirement sets pin {', '.join(differing)} differently; run `make lock`")
    return "".join(text for name, text in wanted.items() if name not in there)


def _pins(text: str) -> dict[str, str]:
    joined = text.replace("\\\n", "\\\0").splitlines()
    lines = [line for line in joined if line.strip() and not line.lstrip().startswith("#")]
    return {line.partition("==")[0]: line.replace("\\\0", "\\\n") + "\n" for line in lines}


def install(requirements: str, target: Path, environ: Mapping[str, str]) -> None:
    """Install wheels, each with the hash that it is pinned with, and compile them.

    Raises:
        subprocess.CalledProcessError: pip failed; it has said why.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
        command += ["--no-compile", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        command += ["--root-user-action", "ignore"]
        subprocess.run([*command, "--target", str(target), "-r", file.name], check=True, env=_pip_environ(environ))
    prune(target)
    precompile(target)


def _pip_environ(environ: Mapping[str, str]) -> dict[str, str]:
    given = dict(environ)
    if (SECRETS / "pip.conf").is_file():
        given["PIP_CONFIG_FILE"] = str(SECRETS / "pip.conf")
    if (SECRETS / "ca.pem").is_file():
        given["PIP_CERT"] = str(SECRETS / "ca.pem")
    return given


def prune(target: Path) -> None:
    """Remove what no function needs."""
    for pattern in SUPERFLUOUS:
        for path in sorted(target.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def precompile(target: Path) -> None:
    """Write byte code that no source is ever compared with: the root can't be written, so Python never could.

    Raises:
        SyntaxError: a file can't be compiled; its name has been printed.
    """
    mode = PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(target, quiet=1, force=True, invalidation_mode=mode, maxlevels=32):
        raise SyntaxError(f"{target} can't be compiled as a whole")
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():  # whatever the umask was, any user can read it
            path.chmod(0o755 if path.is_dir() else 0o644)


def try_out(app: Path, site: Path) -> None:
    """Load everything native on this base.

    Raises:
        ImportError: a module can't be imported here.
        OSError: the library of native kernels can't be loaded here.
    """
    sys.path[:0] = [str(app), str(site)]
    for name in TRIED:
        importlib.import_module(name)
    if (app / LIBRARY).is_file():
        import ctypes

        ctypes.CDLL(str(app / LIBRARY))


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; the exit code is 0, or 2 if something can't be installed or doesn't run on this base."""
    parser = argparse.ArgumentParser("install.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    site = commands.add_parser("site", help="install pinned wheels")
    site.add_argument("target", type=Path)
    site.add_argument("--requirements", type=Path, required=True)
    site.add_argument("--without", type=Path, help="leave out what these requirements have")
    code = commands.add_parser("code", help="compile the handler and try it")
    code.add_argument("target", type=Path)
    code.add_argument("--site", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        if given.command == "site":
            without = given.without.read_text() if given.without else ""
            install(difference(given.requirements.read_text(), without), given.target, environ)
        else:
            precompile(given.target)
            try_out(given.target, given.site)
    except (OSError, ImportError, SyntaxError, ValueError, subprocess.CalledProcessError) as error:
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"firebrick: Python {version} of this base: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.execve(
            sys.executable,
            [sys.executable, *sys.argv],
            {**os.environ, "PYTHONHASHSEED": HASH_SEED, "PYTHONDONTWRITEBYTECODE": "1"},
        )
    sys.exit(main(sys.argv[1:], os.environ))
