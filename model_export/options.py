"""What the user chose, validated once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_export.config import ModelConfig
from model_export.errors import OptionInvalid

DEFAULT_CONTEXT = 8192
BLOCK_SIZES = (16, 32, 64, 128, 256)

Quantization = Literal["int4", "none"]
Activations = Literal["int8", "float32"]
Rounding = Literal["nearest", "search", "calibrated"]


@dataclass(frozen=True)
class ExportOptions:
    """The choices of one export.

    Attributes:
        quantization: "int4", or "none" to keep every weight in float32.
        rounding: how 4-bit values are chosen: "nearest" takes a block's scale from its largest magnitude, "search" by
            least squared error, "calibrated" rounds each layer for the inputs that a text gives it. The command's
            default is the last, which is the best and takes longest.
        calibration: a text for that, and for the measure of `bits_per_weight`; None for the package's own.
        block_size: weights along K that share a scale.
        head_bits: width of the embedding and of the LM head, 4 or 8; None for 8, or with a budget for whichever pays.
        bits_per_weight: budget of a mixed plan, the mean over all quantized weights, scales in f16 included; None to
            have all linear layers in 4 bits.
        activations: what the stock Int4 kernels multiply with: "int8" is fast, "float32" exact.
        context: positions that the artefact can hold; None for the smaller of the model's and 8192.
        name: the model id that the server answers to; None for the hub id or the directory's name.
        threads: for quantization; the result doesn't depend on it.
    """

    quantization: Quantization = "int4"
    rounding: Rounding = "search"
    calibration: Path | None = None
    block_size: int = 32
    head_bits: int | None = None
    bits_per_weight: float | None = None
    activations: Activations = "int8"
    context: int | None = None
    name: str | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.quantization not in ("int4", "none"):
            raise OptionInvalid(f"--quantization {self.quantization!r}: expected int4 or none")
        if self.block_size not in BLOCK_SIZES:
            raise OptionInvalid(f"--block-size {self.block_size}: expected one of {BLOCK_SIZES}")
        if self.head_bits not in (4, 8, None):
            raise OptionInvalid(f"--head-bits {self.head_bits}: expected 4 or 8")
        if self.activations not in ("int8", "float32"):
            raise OptionInvalid(f"--activations {self.activations!r}: expected int8 or float32")
        if self.rounding not in ("nearest", "search", "calibrated"):
            raise OptionInvalid(f"--rounding {self.rounding!r}: expected nearest, search or calibrated")
        if self.bits_per_weight is not None:
            self._check_budget(self.bits_per_weight)
        if self.calibration is not None and not self.calibrates:
            raise OptionInvalid(
                f"--calibration {self.calibration} goes with --rounding calibrated or --bits-per-weight"
            )
        if self.context is not None and self.context < 2:
            raise OptionInvalid(f"--context {self.context}: expected at least 2 tokens")
        if self.name is not None and not re.fullmatch(r"[\w./:+-]{1,128}", self.name, re.ASCII):
            raise OptionInvalid(f"--name {self.name!r}: expected up to 128 letters, digits and ./:+-_")

    def _check_budget(self, budget: float) -> None:
        least, most = (bits + 16 / self.block_size for bits in (4, 8))
        if not least <= budget <= most:
            raise OptionInvalid(
                f"--bits-per-weight {budget:g}: blocks of {self.block_size} with f16 scales take {least:g} bits per "
                f"weight in 4 bits and {most:g} in 8; give a number between"
            )
        if self.quantization == "none":
            raise OptionInvalid(f"--bits-per-weight {budget:g} goes with --quantization int4")

    @property
    def calibrates(self) -> bool:
        """Whether the export runs a text through the model."""
        return self.quantization == "int4" and (self.rounding == "calibrated" or self.bits_per_weight is not None)

    @property
    def default_head_bits(self) -> int:
        """Width of the embedding and of the LM head before a budget is spent."""
        return self.head_bits or 8

    def context_length(self, config: ModelConfig) -> int:
        """Positions of the artefact.

        Raises:
            OptionInvalid: more were asked for than the model has learnt, or than full attention is right for.
        """
        limit = config.max_position_embeddings
        if self.context is not None and self.context > limit:
            raise OptionInvalid(f"--context {self.context} is beyond the model's max_position_embeddings {limit}")
        context = self.context or min(limit, DEFAULT_CONTEXT)
        window = config.sliding_window
        if window is not None and context > window:
            if self.context is not None:
                raise OptionInvalid(
                    f"--context {context} is beyond the model's sliding_window {window}; only full attention is "
                    f"built, which is the same up to --context {window}"
                )
            context = window
        return context


def directory_name(path: Path) -> str:
    """A model id made of a directory's name."""
    return re.sub(r"[^\w.+-]+", "-", path.resolve().name, flags=re.ASCII) or "model"
