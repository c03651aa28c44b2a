"""Reading an image as its engine saves it: one pass over the archive, nothing unpacked."""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os.path import commonpath
from typing import IO, Any

from image.engines import Engine
from image.errors import CommandFailed, ImageUnreadable

CHUNK = 1 << 20
COMPRESSION_LEVEL = 6  # what engines push with


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        size: bytes of the layer, uncompressed.
        compressed: bytes after gzip; 0 if that wasn't asked for.
        files: path without a leading slash → mode; no directories.
    """

    size: int
    compressed: int
    files: Mapping[str, int]

    @property
    def what(self) -> str:
        """The file or the directory that it brings."""
        return "/" + (commonpath(self.files) if self.files else "")


@dataclass(frozen=True)
class SavedImage:
    """An image: its configuration, its layers from the lowest up, and the files that were asked for."""

    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    contents: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Bytes of all layers, uncompressed: what Lambda's limit is about."""
        return sum(layer.size for layer in self.layers)


def read_image(
    engine: Engine, image: str, wanted: Callable[[str], bool] = lambda path: False, compress: bool = False
) -> SavedImage:
    """Read an image out of an engine's storage.

    Args:
        engine: keeps it.
        image: its name.
        wanted: which files' contents to keep, by path.
        compress: measure the layers' compressed size too, about 30 s a GB.

    Raises:
        ImageMissing: there is no such image.
        CommandFailed: it can't be saved.
        ImageUnreadable: what was saved is something else.
    """
    engine.image_id(image)
    with subprocess.Popen(engine.save_command(image), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            saved = parse(process.stdout, wanted, compress)
        except (tarfile.TarError, zlib.error, OSError, ValueError, KeyError) as error:
            process.kill()
            raise ImageUnreadable(f"{engine.name} saved {image} in a form that can't be read: {error}") from error
    if process.returncode:
        raise CommandFailed(f"{engine.name} save {image}", process.returncode)
    return saved


def parse(stream: IO[bytes], wanted: Callable[[str], bool], compress: bool = False) -> SavedImage:
    """Parse a docker archive, old form or new.

    Raises:
        TarError, KeyError, ValueError: it isn't one.
    """
    layers: dict[str, Layer] = {}
    documents: dict[str, bytes] = {}
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file is None:
                continue
            start = file.read(1)
            if start in (b"{", b"["):
                documents[member.name] = start + file.read()
            elif member.size >= tarfile.BLOCKSIZE:  # what is smaller tells the form's version
                layers[member.name] = _layer(_Rejoined(start, file), wanted, contents, compress)
    while stream.read(CHUNK):  # what lies behind the end of the archive: else the writer breaks
        pass
    manifest = json.loads(documents["manifest.json"])[0]
    return SavedImage(
        json.loads(documents[manifest["Config"]]), tuple(layers[name] for name in manifest["Layers"]), contents
    )


def _layer(file: _Rejoined, wanted: Callable[[str], bool], contents: dict[str, bytes], compress: bool) -> Layer:
    compressor = zlib.compressobj(COMPRESSION_LEVEL, wbits=31) if compress else None
    source: Any = gzip.GzipFile(fileobj=file) if file.start == b"\x1f" else file  # type: ignore[call-overload]
    counted = _Counted(source, compressor)
    files: dict[str, int] = {}
    with tarfile.open(fileobj=counted, mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            path = member.name.removeprefix("./")
            if member.isdir():
                continue
            files[path] = member.mode
            if member.isreg() and wanted(path):
                extracted = tar.extractfile(member)
                assert extracted is not None
                contents[path] = extracted.read()
    while counted.read(CHUNK):
        pass
    return Layer(counted.size, counted.finish(), files)


class _Rejoined:
    """A stream whose first byte has been looked at."""

    def __init__(self, start: bytes, file: IO[bytes]) -> None:
        self.start = start
        self._pending = start
        self._file = file

    def read(self, size: int = -1) -> bytes:
        pending, self._pending = self._pending, b""
        return pending + self._file.read(size - len(pending) if size > 0 else size)


class _Counted:
    """A stream that counts what is read from it, before and after compression."""

    def __init__(self, file: IO[bytes], compressor: Any) -> None:
        self.size = 0
        self._compressed = 0
        self._file = file
        self._compressor = compressor

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.size += len(data)
        if self._compressor is not None:
            self._compressed += len(self._compressor.compress(data))
        return data

    def finish(self) -> int:
        return 0 if self._compressor is None else self._compressed + len(self._compressor.flush())
