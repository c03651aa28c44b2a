"""An artefact in S3 → files in memory: ranges side by side, verified by the manifest while they come.

Nothing is written to a disk, /tmp included. docs/cold-start.md has what was measured.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from handler.artefact import (
    DESCRIPTION,
    MANIFEST,
    PREFIX,
    REQUIRED,
    TOKENIZER,
    WEIGHTS,
    Artefact,
    describe_held,
    parse_json,
)
from handler.engine.memory import memory_limits
from handler.errors import ArtefactDamaged, MemoryFilesUnavailable, ModelTooLarge
from handler.settings import S3Prefix
from handler.start.bucket import Pinned, Reader, find_bucket
from handler.start.memory_file import MemoryFile
from handler.start.parts import Parts

CONNECTIONS = 16
PIECE = 8 * 2**20  # bytes of a range
REST = 256 * 2**20  # bytes that the process takes besides the model, at least: see docs/worker.md
LARGEST_MANIFEST = 2**20  # bytes
UNREAD = "tokenizer.json"  # for other tools than the handler
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Listed:
    """What the manifest says of a file."""

    name: str
    nbytes: int
    sha256: str


class Incoming:
    """One file that is on its way.

    Args:
        uri: For messages.
        listed: What it should be.

    Attributes:
        done: Set when it is whole and verified, or will never be.
        ended: When it was whole and verified, in seconds of `time.perf_counter`.

    Raises:
        MemoryFilesUnavailable: There is no file in memory to be had.
    """

    def __init__(self, uri: S3Prefix, listed: Listed) -> None:
        self.listed = listed
        self.pinned = Pinned(listed.name, listed.nbytes)
        self.done = threading.Event()
        self.ended = 0.0
        self._uri = f"{uri}/{listed.name}"
        try:
            self.file = MemoryFile(listed.name, listed.nbytes)
        except (OSError, AttributeError) as error:  # AttributeError: Python has no memfd_create there
            raise MemoryFilesUnavailable(uri, error) from None
        self._hash = hashlib.sha256()
        self._landed: set[int] = set()
        self._next = 0
        self._hashing = False
        self._lock = threading.Lock()

    def pieces(self) -> range:
        """Where its ranges begin."""
        return range(0, self.listed.nbytes, PIECE)

    def piece(self, start: int) -> memoryview:
        """The memory of one range."""
        return self.file.view[start : start + PIECE]

    def landed(self, start: int) -> None:
        """A range is there: hash whatever follows what is hashed already, unless another thread is at it.

        Raises:
            ArtefactDamaged: All is there, and isn't what the manifest says.
        """
        with self._lock:
            self._landed.add(start)
            if self._hashing:
                return
            self._hashing = True
        while self._take():
            with self.piece(self._next) as piece:
                self._hash.update(piece)  # without Python's lock
            self._next += PIECE
            if self._next >= self.listed.nbytes:
                self._finish()
                return

    def _take(self) -> bool:
        with self._lock:
            self._hashing = self._next in self._landed
            return self._hashing

    def _finish(self) -> None:
        if self._hash.hexdigest() != self.listed.sha256:
            raise ArtefactDamaged(
                f"{self._uri} is damaged: its sha256 isn't the manifest's; copy all files of the artefact again"
            )
        self.file.seal(self.pinned.modified)
        self.ended = time.perf_counter()
        self.done.set()


class Download:
    """An artefact that is on its way; made by `begin`.

    Args:
        first: What the manifest was read with.
        started: When it was begun, in seconds of `time.perf_counter`.
        files: What is loaded of it, in that order.
        manifest: As it was written.
        limits: What bounds the memory, in bytes.

    Raises:
        ModelTooLarge: It doesn't fit the memory.
        MemoryFilesUnavailable: There are no files in memory to be had.
    """

    def __init__(
        self, first: Reader, started: float, files: Collection[Listed], manifest: bytes, limits: Mapping[str, int]
    ) -> None:
        self._at = first.bucket.at
        self._started = started
        self._manifest = manifest
        self._limits = limits
        self.nbytes = sum(file.nbytes for file in files)
        check_memory(self._at, self.nbytes, limits)
        self._files = {file.name: Incoming(self._at, file) for file in files}
        self._pieces = deque((file, start) for file in self._files.values() for start in file.pieces())
        self._error: Exception | None = None
        self._readers = [first, *(Reader(first.bucket) for _ in range(min(CONNECTIONS, len(self._pieces)) - 1))]
        for reader in self._readers:
            threading.Thread(target=self._run, args=(reader,), daemon=True).start()

    def _run(self, reader: Reader) -> None:
        try:
            while self._error is None and (taken := self._take()) is not None:
                file, start = taken
                with file.piece(start) as piece:
                    reader.fill(file.pinned, start, piece)
                file.landed(start)
        except Exception as error:
            self._error = self._error or error
            for file in self._files.values():
                file.done.set()
        finally:
            reader.close()

    def _take(self) -> tuple[Incoming, int] | None:
        try:
            return self._pieces.popleft()
        except IndexError:
            return None

    def wait(self, name: str) -> None:
        """Wait until a file is there and verified; one that isn't loaded is waited for by nobody.

        Raises:
            DownloadError: It can't be had.
            ArtefactError: It isn't there, or isn't what the manifest says.
        """
        if name in self._files:
            self._files[name].done.wait()
        if self._error is not None:
            raise self._error

    def describe(self) -> Artefact:
        """Wait for the small files, and describe the artefact.

        Raises:
            DownloadError: One of them can't be had.
            ArtefactError: One isn't there, or isn't what the manifest says.
            ModelTooLarge: Its kernels need more memory than there is.
        """
        for name in self._files:
            if name != WEIGHTS and not PREFIX.fullmatch(name):
                self.wait(name)
        held = {name: file.file.path for name, file in self._files.items()}
        hashes = {name: {"sha256": file.listed.sha256} for name, file in self._files.items()}
        artefact = describe_held(str(self._at), held, hashes, self._manifest)
        if artefact.kernels == "stock":  # onnxruntime's kernels pack the weights, beside the file
            check_memory(self._at, self.nbytes + self._files[WEIGHTS].listed.nbytes, self._limits)
        return artefact

    def tell(self, parts: Parts) -> None:
        """Add how long all of it took to a start's parts, its bytes, its requests, and how many brought not all."""
        for name in self._files:
            self.wait(name)
        ended = parts.ended["download"] = max(file.ended for file in self._files.values())
        parts["download_ms"] = round((ended - self._started) * 1e3, 1)
        parts["download_bytes"] = self.nbytes
        parts["download_requests"] = sum(reader.requests for reader in self._readers)
        parts["download_retries"] = sum(reader.retries for reader in self._readers)


def begin(at: S3Prefix, environ: Mapping[str, str], prefixes: bool = True) -> Download:
    """Read an artefact's manifest, and begin to load what the handler reads of it.

    Args:
        at: Where it is.
        environ: Region, credentials, memory.
        prefixes: Whether caches of prompts' beginnings are wanted, too.

    Raises:
        SettingsError: There is no region, or the endpoint is no URL.
        DownloadError: The manifest can't be had, or what it lists doesn't fit the memory.
        ArtefactError: The manifest isn't there, or is none.
    """
    started = time.perf_counter()
    bucket = find_bucket(at, environ)
    first = Reader(bucket)
    try:
        manifest = first.whole(Pinned(MANIFEST), LARGEST_MANIFEST)
        told = f"{at}/{MANIFEST}"
        listed = read_listed(parse_json(manifest, told).get("files"), told)
        files = [file for file in listed if prefixes or not PREFIX.fullmatch(file.name)]
        return Download(first, started, files, manifest, memory_limits(environ))
    except Exception:
        first.close()
        raise


def read_listed(files: object, told: str) -> list[Listed]:
    """Read a manifest's list, all but what the handler never reads; what the engine waits for last comes last.

    Raises:
        ArtefactDamaged: It lacks a file, or describes one badly.
    """
    if not isinstance(files, dict) or not set(REQUIRED) <= set(files):
        raise ArtefactDamaged(f"{told} doesn't list all files; export the model again")
    found = [_listed(name, entry, told) for name, entry in files.items() if name != UNREAD]
    order = (DESCRIPTION, TOKENIZER)
    return sorted(
        found,
        key=lambda file: (
            file.name == WEIGHTS,
            PREFIX.fullmatch(file.name) is not None,
            file.name not in order,
            file.name,
        ),
    )


def _listed(name: str, entry: object, told: str) -> Listed:
    size, digest = (entry.get("size"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    whole = isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**40
    if not (whole and NAME.fullmatch(name) and isinstance(digest, str) and SHA256.fullmatch(digest)):
        raise ArtefactDamaged(f"{told} has a malformed entry {name[:100]!r}; export the model again")
    assert isinstance(size, int)
    return Listed(name, size, digest)


def check_memory(at: S3Prefix, needed: int, limits: Mapping[str, int]) -> None:
    """Hold what a model takes against what there is.

    Args:
        at: For the message.
        needed: Bytes.
        limits: From `memory_limits`, taken before.

    Raises:
        ModelTooLarge: It doesn't fit.
    """
    what, limit = min(limits.items(), key=lambda item: item[1], default=("", needed + REST))
    if needed + REST > limit:
        raise ModelTooLarge(at, needed, REST, limit, what)
