"""Modules out of one file, where a start would look for hundreds; the image has it as `sitecustomize`.

A bundle holds code objects by module, as a first start needed them. Everything else about a module stays as it is: it
knows its file, and what lies beside. Without a bundle, or with one of another Python, modules are found as always.

Some modules are found as always, but run only when they are used: a server in Lambda speaks plain HTTP, and a start
would read 8 MB of OpenSSL for nothing.
"""

# ruff: noqa: I002 - `__future__` is a module of its own, which would be read before there is a bundle
import marshal
import sys

# What importlib.machinery and importlib.util show of it, without the dozen modules that these import.
from _frozen_importlib_external import (
    MAGIC_NUMBER,
    ExtensionFileLoader,
    SourceFileLoader,
    spec_from_file_location,
)
from _operator import _compare_digest
from _thread import RLock
from os import O_CLOEXEC, O_RDONLY, close, pread
from os import open as open_

DIRECTORY = "/opt/firebrick/start"
NAMES = ("libraries.bundle", "own.bundle")  # apart, because our own modules change more often
HEAD = 8  # bytes: the length of the index
SOURCE, PACKAGE, EXTENSION = range(3)

TYPE_CHECKING = False  # typing isn't needed yet
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any

    Entry = tuple[int, str, int, int]
else:
    ModuleType = type(sys)


class BundledLoader(SourceFileLoader):
    """A source file's loader that has the code already."""

    def __init__(self, name: str, path: str, bundle: int, start: int, end: int) -> None:
        super().__init__(name, path)
        self._place = bundle, end - start, start

    def get_code(self, fullname: str) -> "CodeType | None":
        """The module's code."""
        code: CodeType = marshal.loads(pread(*self._place))
        return code


class BundleFinder:
    """Finds modules in a bundle; first among Python's finders."""

    def __init__(self, index: "dict[str, Entry]", bundle: int, data: int) -> None:
        self._index = index
        self._bundle = bundle
        self._data = data

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """A module's spec, or None if the bundle doesn't have it."""
        entry = self._index.get(name)
        if entry is None:
            return None
        kind, file, start, end = entry
        if kind == EXTENSION:
            return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))
        where = [file.rpartition("/")[0]] if kind == PACKAGE else None
        loader = BundledLoader(name, file, self._bundle, self._data + start, self._data + end)
        return spec_from_file_location(name, file, loader=loader, submodule_search_locations=where)

    def invalidate_caches(self) -> None:
        """Nothing is cached that could be stale."""


class Deferred(ModuleType):
    """A module whose code runs when something is asked of it that isn't there."""

    def __getattr__(self, name: str) -> "Any":
        if name == "__path__":  # `from x import y` looks for it: this is no package
            raise AttributeError(name)
        if (self.__name__, name, sys._getframe(1).f_code.co_name) == CHECK:
            return ()
        with _running:
            loader = self.__dict__.pop(LOADER, None)
            if loader is not None:
                try:
                    loader.exec_module(self)
                except BaseException:
                    self.__dict__[LOADER] = loader
                    raise
                self.__class__ = ModuleType  # type: ignore[assignment]
                self.__loader__ = loader
                if self.__spec__ is not None:
                    self.__spec__.loader = loader  # it is as it always was, and can be loaded again
        return ModuleType.__getattribute__(self, name)


class DeferringLoader:
    """Loads a module as another loader does, but for running it."""

    def __init__(self, loader: "Any", early: "dict[str, Any]") -> None:
        self.loader = loader
        self._early = early

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        """The module to be; None for the usual kind."""
        return Deferred(spec.name)

    def exec_module(self, module: "ModuleType") -> None:
        """Give a module what it has before it runs."""
        module.__dict__.update(self._early)
        module.__dict__[LOADER] = self.loader

    def __getattr__(self, name: str) -> "Any":
        return getattr(self.loader, name)


class DeferringFinder:
    """Finds what is deferred, by means of the finders behind it."""

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """A module's spec, or None if it isn't one of `DEFERRED`, is loaded again, or isn't found."""
        if name not in DEFERRED or target is not None:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = DeferringLoader(spec.loader, DEFERRED[name])  # type: ignore[assignment]
                return spec
        return None

    def invalidate_caches(self) -> None:
        """Nothing is cached that could be stale."""


def _sha1(*args: "Any", **options: "Any") -> "Any":
    import hashlib

    return hashlib.new("sha1", *args, **options)  # what it doesn't have yet, so that it runs


_running = RLock()
LOADER = "_firebrick_loader"
# What loads OpenSSL or another library, and what others ask of it when they are imported.
DEFERRED: "dict[str, dict[str, Any]]" = {
    "hashlib": {"sha1": _sha1},  # jinja2
    "hmac": {"compare_digest": _compare_digest},  # secrets
    "ssl": {"PROTOCOL_TLS_SERVER": 17, "CERT_NONE": 0},  # uvicorn, which knows them as int
    "asyncio.sslproto": {},
    "bz2": {},  # shutil, which only wants to know that it is there
    "lzma": {},
}
# asyncio asks of each socket whether it is TLS's; before there is TLS, none is.
CHECK = ("ssl", "SSLSocket", "_check_ssl_socket")


def write(path: str, modules: "Iterable[tuple[str, int, str, bytes]]") -> None:
    """Write a bundle.

    Args:
        path: of the file.
        modules: name, kind, file, and the code in marshal's form, which is empty for extensions.
    """
    index, codes, at = {}, [], 0
    for name, kind, file, code in modules:
        index[name] = (kind, file, at, at + len(code))
        codes.append(code)
        at += len(code)
    head = marshal.dumps(index)
    with open(path, "wb") as out:
        out.write(MAGIC_NUMBER + len(head).to_bytes(HEAD, "little") + head + b"".join(codes))


def read(path: str) -> "BundleFinder | None":
    """Read a bundle; None if there is none for this Python."""
    try:
        handle = open_(path, O_RDONLY | O_CLOEXEC)  # for as long as the process lives
    except OSError:
        return None
    head = pread(handle, len(MAGIC_NUMBER) + HEAD, 0)
    if head[: len(MAGIC_NUMBER)] != MAGIC_NUMBER:
        close(handle)
        return None
    length = int.from_bytes(head[len(MAGIC_NUMBER) :], "little")
    return BundleFinder(marshal.loads(pread(handle, length, len(head))), handle, len(head) + length)


def install(directory: str = DIRECTORY) -> None:
    """Let modules be found in a directory's bundles before they are looked for elsewhere, and run some when used."""
    finders = [read(f"{directory}/{name}") for name in NAMES]
    sys.meta_path[:0] = [DeferringFinder(), *(finder for finder in finders if finder is not None)]


if __name__ == "sitecustomize":
    install()
