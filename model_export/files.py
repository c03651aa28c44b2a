"""A checkpoint's small files, config.json and the tokenizer's: a directory, or made of what another format says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class Files(Protocol):
    """What is needed of `pathlib.Path` to read them."""

    def __truediv__(self, name: str, /) -> Files:
        """The file or directory `name` in this one."""

    def is_file(self) -> bool:
        """Whether there is such a file."""

    def read_text(self, encoding: str) -> str:
        """Its content as text; raises OSError and UnicodeDecodeError as a path does."""

    def read_bytes(self) -> bytes:
        """Its content; raises OSError as a path does."""


@dataclass(frozen=True)
class MemoryFiles:
    """Files that are nowhere but in memory.

    Attributes:
        origin: what they were made of, for messages.
        contents: by name.
        name: of the file that this is; "" for the directory.
    """

    origin: str
    contents: Mapping[str, bytes]
    name: str = ""

    def __truediv__(self, name: str) -> MemoryFiles:
        return MemoryFiles(self.origin, self.contents, f"{self.name}/{name}" if self.name else str(name))

    def __str__(self) -> str:
        return f"{self.name} of {self.origin}" if self.name else self.origin

    def is_file(self) -> bool:
        return self.name in self.contents

    def read_text(self, encoding: str) -> str:
        return self.read_bytes().decode(encoding)

    def read_bytes(self) -> bytes:
        if self.name not in self.contents:
            raise FileNotFoundError(str(self))
        return self.contents[self.name]
