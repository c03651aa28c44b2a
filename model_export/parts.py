"""The parts that a decoder's layers are lists of; `model_export.decoder` says what goes through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_export.heads import Heads


@dataclass(frozen=True)
class Norm:
    """RMSNorm (Zhang and Sennrich, 2019).

    Attributes:
        name: of the module, in the checkpoint and in the artefact.
        width: elements that it is taken over, in the checkpoint.
        epsilon: added to the mean square.
        heads: what the elements are, if they are heads; in the artefact these may be padded.
        offset: what the checkpoint leaves out of the weight.
    """

    name: str
    width: int
    epsilon: float
    heads: Heads | None = None
    offset: float = 0.0

    @property
    def weight(self) -> str:
        """Name of its weight."""
        return f"{self.name}.weight"

    @property
    def index(self) -> NDArray[np.int64] | None:
        """Maps stored elements to the checkpoint's."""
        return None if self.heads is None else self.heads.index

    @property
    def factor(self) -> float:
        """What the stored weight is multiplied by: padding adds zeros to the mean."""
        return 1.0 if self.heads is None else float(self.heads.layout.norm_factor**0.5)

    @property
    def stored_epsilon(self) -> float:
        """The epsilon that goes with the stored weight."""
        return self.epsilon if self.heads is None else self.epsilon * self.heads.layout.norm_factor

    @property
    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        """Of the checkpoint."""
        return {self.weight: (self.width,)}


@dataclass(frozen=True)
class Source:
    """A tensor of the checkpoint that gives a linear layer its rows, or some of them.

    Attributes:
        name: of its module.
        rows: in the checkpoint.
        heads: what the rows are, if they are heads.
    """

    name: str
    rows: int
    heads: tuple[Heads, ...] = ()

    @property
    def index(self) -> NDArray[np.int64] | None:
        """Maps stored rows to the checkpoint's; None when they are the same."""
        if all(heads.index is None for heads in self.heads):
            return None
        first, parts = 0, []
        for heads in self.heads:
            index = np.arange(heads.width) if heads.index is None else heads.index
            parts.append(np.where(index < 0, -1, index + first))
            first += heads.width
        return np.concatenate(parts)


@dataclass(frozen=True)
class Linear:
    """A linear layer, of one tensor of the checkpoint or of several on top of each other.

    Attributes:
        name: of the module in the artefact.
        sources: of its rows.
        columns: in the checkpoint.
        bias: whether it has one.
        heads: what the columns are, if they are heads.
    """

    name: str
    sources: tuple[Source, ...]
    columns: int
    bias: bool
    heads: Heads | None = None

    @property
    def weight(self) -> str:
        """Name of its weight."""
        return f"{self.name}.weight"

    @property
    def bias_name(self) -> str:
        """Name of its bias, if it has one."""
        return f"{self.name}.bias"

    @property
    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        """Of the checkpoint."""
        found: dict[str, tuple[int, ...]] = {}
        for source in self.sources:
            found[f"{source.name}.weight"] = (source.rows, self.columns)
            if self.bias:
                found[f"{source.name}.bias"] = (source.rows,)
        return found


@dataclass(frozen=True)
class Attention:
    """Causal grouped-query attention (Ainslie et al., 2023) over what a linear layer gives: q, k and v side by side.

    Attributes:
        name: of the block.
        heads: of queries.
        kv_heads: of keys and values.
        scale: of the scores.
        norms: of queries and of keys, before the rotation; of each head, or of all of them together.
        rope: name of the tables by which positions are told apart; None where they aren't.
        epsilon: of both norms, as stored.
        window: positions that one sees, itself included; None for all before it.
        softcap: of the scores, which become softcap · tanh(score / softcap).
    """

    name: str
    heads: Heads
    kv_heads: Heads
    scale: float
    norms: tuple[Norm, Norm] | None
    rope: str | None
    epsilon: float
    window: int | None = None
    softcap: float | None = None

    @property
    def whole_norms(self) -> bool:
        """Whether the norms are over all heads together."""
        return self.norms is not None and self.norms[0].width == self.heads.width > self.heads.layout.head_dim

    @property
    def tensors(self) -> Mapping[str, tuple[int, ...]]:
        """Of the checkpoint."""
        return {name: shape for norm in self.norms or () for name, shape in norm.tensors.items()}


@dataclass(frozen=True)
class Gate:
    """`activation(first half) * second half` (Shazeer, GLU variants, 2020), before a linear layer.

    Attributes:
        name: of the block.
        activation: "silu", "gelu", "gelu_tanh" or "relu".
    """

    name: str
    activation: str


@dataclass(frozen=True)
class Add:
    """The residual connection.

    Attributes:
        name: of the sum in the graph.
        factor: of what is added to the stream.
    """

    name: str
    factor: float = 1.0


Part = Norm | Linear | Attention | Gate | Add
