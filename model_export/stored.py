"""The weights of an artefact, read back a few rows at a time, whichever way they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export import artefact
from model_export.checkpoint import Checkpoint
from model_export.errors import ArtefactInvalid
from model_export.quantize import dequantize
from model_export.reading import ReadArtefact
from model_export.storage import NativeStorage1, Scales, Values
from model_export.weights import Weight, plan


class StoredWeights:
    """Random access to the weights of an artefact.

    Attributes:
        planned: every weight by name, in order of use: shape, bits and storage; its `rows` have no values.
    """

    def __init__(self, read: ReadArtefact) -> None:
        """Hold what the weights file has against what the description implies.

        Raises:
            ArtefactInvalid: a tensor is missing or has another shape, or the description is impossible.
        """
        config = read.config
        self._read = read
        self._path = read.directory / artefact.WEIGHTS
        planned = plan(config, read.options, Checkpoint.shapes_of(config))
        if read.description["format_version"] == 1 and read.options.kernels == "native":
            planned = [replace(weight, storage=NativeStorage1()) for weight in planned]
        self.planned: Mapping[str, Weight] = {weight.name: self._as_stored(weight) for weight in planned}

    def _as_stored(self, weight: Weight) -> Weight:
        tensors = self._read.tensors
        for bits in (None, 8, 4):  # the high plane of 8 looks like a weight of 4
            found = replace(weight, bits=bits)
            stored = [tensors.get(spec.name) for spec in found.tensors]
            if all(t and (t.dtype, t.shape) == (s.dtype, s.shape) for t, s in zip(stored, found.tensors, strict=True)):
                return found
        tensor = tensors.get(weight.name)
        has = f"is {tensor.dtype} {list(tensor.shape)}" if tensor else "is missing"
        raise ArtefactInvalid(
            f"{self._path}: {weight.name} {has}, which holds no {list(weight.rows.shape)} "
            f"weights for {self._read.description['kernels']} kernels: export the model again"
        )

    def weight(self, name: str) -> NDArray[np.float32]:
        """Read a weight, dequantized if it is quantized, without any padding; raises as `quantized`."""
        weight = self.planned[name]
        rows = weight.rows.shape[0]
        if weight.bits is None:
            return self.stored(name, 0, rows)
        values, scales = self.quantized(name, 0, rows)
        return dequantize(values, scales, weight.bits, weight.rows.shape[1])

    def quantized(self, name: str, start: int, stop: int) -> tuple[Values, Scales]:
        """Read rows of a quantized weight.

        Returns:
            values and scales as `model_export.quantize.quantize` gives them.

        Raises:
            ArtefactInvalid: the bytes aren't what the exporter writes.
        """
        weight = self.planned[name]
        n, k = weight.rows.shape
        group = weight.storage.row_group
        first, last = start // group, -(-stop // group)
        top, bottom = first * group, min(last * group, n)
        # Some tensors have a row for each group, some one for each row.
        arrays = [self.stored(s.name, *((top, bottom) if s.shape[0] == n else (first, last))) for s in weight.tensors]
        assert weight.bits is not None
        try:
            values, scales = weight.storage.decode(arrays, (bottom - top, k), weight.bits)
        except ValueError as error:
            raise ArtefactInvalid(
                f"{self._path}: {name}, rows {top} to {bottom - 1}: {error}: export the model again"
            ) from None
        return values[start - top : stop - top], scales[start - top : stop - top]

    def stored(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Read a stored tensor as it is, `start:stop` of its first dimension."""
        tensor = self._read.tensors[name]
        width = tensor.nbytes // tensor.shape[0]
        with self._path.open("rb") as file:
            file.seek(tensor.offset + start * width)
            content = file.read((stop - start) * width)
        dtype = np.dtype("<f4") if tensor.dtype == "F32" else np.dtype(np.uint8)
        return np.frombuffer(content, dtype=dtype).reshape(stop - start, *tensor.shape[1:])
