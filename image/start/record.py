"""Makes a first start while the image is built, and writes down what it needed; runs on the base's Python."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import marshal
import os
import runpy
import shutil
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path

from image.start import bundle

OWN = "handler"
READY_S = 600.0
PAUSE_S = 0.05
REQUEST = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
)
BODY = '{"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, "stream": true}'
MODEL_FILES = ("manifest.json", "firebrick.json", "model.onnx", "tokenizer.kit", "chat_template.jinja")
MAPPED = 5  # a line of /proc/self/maps has the file as its sixth field
MODULES = "modules.json"
PYTHON, EXTENSIONS = "python", "extensions"
FRONTS = "fronts.json"  # beside libraries that `image.start.libraries` has written
FIRST = ("encodings", "encodings.aliases", "encodings.utf_8", "sitecustomize")
# As in a function, so that its metrics are imported too.
ENVIRONMENT = {"AWS_LAMBDA_FUNCTION_NAME": "firebrick", "PYTHONHASHSEED": "0"}
# Code without columns, which only underline a part of a traceback's line: a fifth less to read.
COMPILING = {"PYTHONNODEBUGRANGES": "1"}
# What recording itself imports, and no start does.
RECORDING = ("image", "sitecustomize")


class Sought:
    """Notes what is looked for; a finder that finds nothing."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Note a name."""
        self._names[name] = None

    def unfinished(self) -> dict[str, types.ModuleType]:
        """What is there and was looked for, but failed: it wants something that isn't there, at each start anew."""
        found = {}
        for name in tuple(self._names):  # finding notes names itself
            parent = name.rpartition(".")[0]
            if name in sys.modules or (parent and parent not in sys.modules):
                continue
            module = found[name] = types.ModuleType(name)
            module.__spec__ = find_spec(name)
        return found


SOUGHT = Sought()


def record_server(out: Path) -> None:
    """Serve until one request is answered, then write down what there is; ends the process."""
    port = free_port()
    os.environ["AWS_LWA_PORT"] = str(port)
    threading.Thread(target=_ask_and_write, args=(port, out), daemon=True).start()
    sys.argv = ["handler"]
    runpy.run_module("handler", run_name="__main__", alter_sys=True)


def free_port() -> int:
    """A port that nobody uses: a build may share the network of its host."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _ask_and_write(port: int, out: Path) -> None:
    try:
        ask(port)
        write(out)
    except Exception as error:
        print(f"firebrick: the first start can't be recorded: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def ask(port: int, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait for a server on loopback, and read its answer to a first request.

    Args:
        port: where it listens.
        alive: whether it is worth waiting.

    Raises:
        OSError: there is none.
    """
    request = REQUEST.format(length=len(BODY), body=BODY).encode()
    end = time.monotonic() + READY_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), READY_S) as connection:
                connection.sendall(request)
                while connection.recv(1 << 16):
                    pass
                return
        except ConnectionRefusedError:
            if time.monotonic() > end or not alive():
                raise
            time.sleep(PAUSE_S)


def record_imports(modules: Sequence[str], out: Path) -> None:
    """Import what a function's start imports, which loads the model, then write down what there is."""
    for name in modules:
        importlib.import_module(name)
    write(out)


def write(out: Path) -> None:
    """Write down what this process has imported and mapped, and compile it in a fresh one, whose result is always the
    same."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "files").write_text("".join(f"{path}\n" for path in _files()))
    (out / MODULES).write_text(json.dumps(modules_of({**sys.modules, **SOUGHT.unfinished()})))
    sys.stdout.flush()
    command = [sys.executable, "-m", "image.start.record", "compile", str(out)]
    os.execve(sys.executable, command, {**os.environ, **ENVIRONMENT, **COMPILING})


def modules_of(modules: dict[str, types.ModuleType]) -> dict[str, tuple[int, str]]:
    """What was imported from files: name → kind and file."""
    found = {}
    for module in list(modules.values()):
        spec = getattr(module, "__spec__", None)
        if spec is None or spec.origin is None or spec.name.partition(".")[0] in RECORDING:
            continue
        loader = getattr(spec.loader, "loader", spec.loader)  # of what is deferred
        if isinstance(loader, ExtensionFileLoader):
            found[spec.name] = bundle.EXTENSION, spec.origin
        elif isinstance(loader, SourceFileLoader):
            found[spec.name] = bundle.PACKAGE if spec.submodule_search_locations else bundle.SOURCE, spec.origin
    return found


def compile_bundles(out: Path) -> None:
    """Make the bundles of what was written down: one of the libraries, one of the handler, which changes more often."""
    modules = sorted(json.loads((out / MODULES).read_text()).items())
    (out / MODULES).unlink()
    (out / PYTHON / EXTENSIONS).mkdir(parents=True, exist_ok=True)
    own = [item for item in modules if item[0].partition(".")[0] == OWN]
    for name, items in zip(bundle.NAMES, ([item for item in modules if item not in own], own), strict=True):
        bundle.write(
            str(out / name), ((name, kind, _placed(kind, file, out), _code(kind, file)) for name, (kind, file) in items)
        )
    for path in out.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _placed(kind: int, file: str, out: Path) -> str:
    """Where a module's file will be: Python's own extensions, few of many, are copied to lie together."""
    if kind != bundle.EXTENSION or not _is_pythons(file):
        return file
    shutil.copyfile(file, out / PYTHON / EXTENSIONS / os.path.basename(file))
    return copied(file)


def _is_pythons(path: str) -> bool:
    return os.path.basename(os.path.dirname(path)) == "lib-dynload"


def copied(path: str) -> str:
    """Where the copy of one of Python's own extensions is in the image."""
    return f"{bundle.DIRECTORY}/{EXTENSIONS}/{os.path.basename(path)}"


def _code(kind: int, file: str) -> bytes:
    if kind == bundle.EXTENSION:
        return b""
    tree = ast.parse(Path(file).read_bytes(), file)
    return marshal.dumps(compile(without_docstrings(tree), file, "exec", dont_inherit=True))


def without_docstrings(tree: ast.Module) -> ast.Module:
    """A module whose functions and classes have none, as with `python -OO`; its own, which programs print, stays."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node, False):
            node.body[:1] = [] if len(node.body) > 1 else [ast.copy_location(ast.Pass(), node.body[0])]
    return tree


def _files() -> list[str]:
    """What a start reads, in the order of its need; behind a tab, how many bytes of it if not all.

    The interpreter and its libraries, what Python imports and where it looks before there are bundles, the bundles,
    other libraries, the model's small files. By name in each part, so that it is the same each time.
    """
    with open("/proc/self/maps") as maps:
        fields = [line.split(None, MAPPED) for line in maps]
    model_dir = os.environ["FIREBRICK_MODEL_DIR"]
    mapped = sorted({line[MAPPED].strip() for line in fields if len(line) > MAPPED and line[MAPPED].startswith("/")})
    libraries = [copied(path) if _is_pythons(path) else path for path in mapped if not path.startswith(model_dir)]
    later = {*map(copied, mapped)}
    program = os.path.realpath(sys.executable)
    first = [program, *(path for path in libraries if "/site/" not in path and path not in later)]
    model = [f"{model_dir}/{name}" for name in MODEL_FILES]
    bundles = [f"{bundle.DIRECTORY}/{name}" for name in bundle.NAMES]
    ordered = [*first, *_first_modules(), *bundles, *libraries, *model]
    made = {*bundles, *later}
    return with_lengths([path for path in dict.fromkeys(ordered) if path in made or os.path.exists(path)])


def with_lengths(paths: Sequence[str]) -> list[str]:
    """Lines of the list: a path, and how much of it a start touches where that is known."""
    fronts: dict[str, int] = {}
    for place in sys.path:
        path = Path(place, FRONTS)
        if path.is_file():
            fronts |= json.loads(path.read_text())
    return [f"{path}\t{fronts[path]}" if path in fronts else path for path in paths]


def _first_modules() -> list[str]:
    """What Python imports before it looks into a bundle, and where it looks for that."""
    places = [place for place in sys.path if os.path.isdir(place) and place != os.getcwd()]
    specs = [sys.modules[name].__spec__ for name in FIRST if name in sys.modules]
    files = [path for spec in specs if spec is not None for path in (spec.origin, spec.cached) if path is not None]
    return [*places, *(os.path.dirname(path) for path in files), *files]


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 0, or another if the function doesn't start."""
    parser = argparse.ArgumentParser("record.py", description=__doc__)
    parser.add_argument("what", choices=("server", "imports", "compile"))
    parser.add_argument("out", type=Path)
    parser.add_argument("modules", nargs="*", help="what is imported")
    given = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    sys.meta_path.insert(0, SOUGHT)
    if given.what == "server":
        record_server(given.out)
    elif given.what == "imports":
        record_imports(given.modules, given.out)
    else:
        compile_bundles(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
