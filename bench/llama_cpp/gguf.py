"""The header of a GGUF file: which tensors it has, of what type and size.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

from bench.llama_cpp.errors import GgufInvalid

# ggml's number of a type: its name, the weights of a block, and the bytes of one.
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    30: ("BF16", 1, 2),
}
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a metadata value by its type
STRING, ARRAY = 8, 9
LONGEST = 1 << 24  # bytes of a string; a chat template is the longest
NO_WEIGHTS = ("rope_freqs.", "rope_factors_")  # tables that follow from the config; ours aren't counted either


@dataclass(frozen=True)
class GgufTensor:
    """One tensor: `type` is ggml's name of it, `count` its weights."""

    name: str
    type: str
    count: int
    nbytes: int


def read_tensors(path: Path) -> list[GgufTensor]:
    """Read the header's list of tensors.

    Raises:
        GgufInvalid: it isn't a GGUF file of version 3, ends early, or has a type that we don't know.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            version, tensors, entries = _unpack(file, "<IQQ")
            if magic != b"GGUF" or version != 3:
                raise GgufInvalid(f"{path} is no GGUF file of version 3")
            for _ in range(entries):
                _string(file)
                _skip(file, *_unpack(file, "<I"))
            return [_tensor(file) for _ in range(tensors)]
    except KeyError as error:
        raise GgufInvalid(f"{path} has a type that we don't know: {error}") from None


def _tensor(file: BinaryIO) -> GgufTensor:
    name = _string(file)
    (dimensions,) = _unpack(file, "<I")
    count = prod(_unpack(file, f"<{dimensions}Q"))
    number, _offset = _unpack(file, "<IQ")
    kind, weights, size = TYPES[number]
    return GgufTensor(name, kind, count, count // weights * size)


def _skip(file: BinaryIO, kind: int) -> None:
    if kind == STRING:
        _string(file)
    elif kind == ARRAY:
        element, count = _unpack(file, "<IQ")
        if element in SCALARS:
            file.seek(SCALARS[element] * count, 1)
        else:
            for _ in range(count):
                _skip(file, element)
    else:
        file.seek(SCALARS[kind], 1)


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<Q")
    return _take(file, length).decode("utf-8", "replace")


def _unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, _take(file, struct.calcsize(form)))


def _take(file: BinaryIO, size: int) -> bytes:
    if size > LONGEST or len(data := file.read(size)) < size:
        raise GgufInvalid(f"{file.name}: the header ends early or is damaged")
    return data


def bits_per_weight(tensors: list[GgufTensor], parameters: int) -> float:
    """Bits of all tensors, scales included, over the checkpoint's weights; as `model_export.inspect.summary` counts.

    Args:
        tensors: of the file.
        parameters: weights of the checkpoint, a tied head once.
    """
    return 8 * sum(t.nbytes for t in tensors if not t.name.startswith(NO_WEIGHTS)) / parameters


def types_by_class(tensors: list[GgufTensor]) -> dict[str, dict[str, int]]:
    """Which types a quantizer chose: tensors of each type by class, `{"ffn_down": {"Q6_K": 2, "Q4_K": 3}, …}`."""
    found: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for tensor in tensors:
        kind = tensor.name.removesuffix(".weight").split(".")[-1]
        found[kind][tensor.type] += 1
    return {kind: dict(types) for kind, types in found.items() if not f"{kind}.".startswith(NO_WEIGHTS)}
