"""What the user chose, validated once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from model_export.config import ModelConfig
from model_export.errors import OptionInvalid

DEFAULT_CONTEXT = 8192
BLOCK_SIZES = (16, 32, 64, 128, 256)

Quantization = Literal["int4", "none"]
Activations = Literal["int8", "float32"]
Rounding = Literal["nearest", "search", "calibrated", "kept"]
Kernels = Literal["native", "stock"]
KvCache = Literal["f16", "int8"]
Pooling = Literal["mean", "last"]
Embeddings = Literal["mean", "last", "none"]
CACHE_DTYPES: dict[KvCache | None, str] = {None: "float32", "f16": "float16", "int8": "int8"}


@dataclass(frozen=True)
class ExportOptions:
    """The choices of one export.

    Attributes:
        quantization: "int4", or "none" to keep every weight in float32.
        rounding: how 4-bit values are chosen: "nearest" takes a block's scale from its largest magnitude, "search" by
            least squared error, "calibrated" rounds each layer for the inputs that a text gives it, and "kept" keeps
            what a GGUF file's blocks hold, where ours can. The command's default is "calibrated", which is the best of
            the first three and takes longest.
        calibration: a text for that, and for the measure of `bits_per_weight`; None for the package's own.
        block_size: weights along K that share a scale.
        head_bits: width of the embedding and of the LM head, 4 or 8; None for 8, or with a budget for whichever pays.
        scale_bits: width of the scales of 4-bit weights and of the head, 8 or 16; None for 8 where the native kernels
            could be used, so that a conversion needs no others, unless weights are kept as they are.
        bits_per_weight: budget of a mixed plan, the mean over all quantized weights, scales in f16 included; None to
            have all linear layers in 4 bits.
        activations: what the stock Int4 kernels multiply with: "int8" is fast, "float32" exact.
        kernels: "native" for our own operators and their layout of the weights, "stock" for onnxruntime's.
        kv_cache: what the native kernels' cache holds; None for "int8" with them, and for float32 with the stock ones.
        context: positions that the artefact can hold; None for the smaller of the model's and 8192.
        embeddings: how hidden states become the vector of a text: "mean" of all, the "last" one, or "none" for an
            artefact that isn't meant for it; None for what the checkpoint says, which is mostly nothing.
        name: the model id that the server answers to; None for the hub id or the directory's name.
        prefixes: files with what prompts begin with; their caches go into the artefact.
        threads: for quantization; the result doesn't depend on it.
    """

    quantization: Quantization = "int4"
    rounding: Rounding = "search"
    calibration: Path | None = None
    block_size: int = 32
    head_bits: int | None = None
    scale_bits: int | None = None
    bits_per_weight: float | None = None
    activations: Activations = "int8"
    kernels: Kernels = "stock"
    kv_cache: KvCache | None = None
    context: int | None = None
    embeddings: Embeddings | None = None
    name: str | None = None
    prefixes: tuple[Path, ...] = ()
    threads: int = 1

    def __post_init__(self) -> None:
        if self.quantization not in get_args(Quantization):
            raise OptionInvalid(f"--quantization {self.quantization!r}: expected int4 or none")
        if self.block_size not in BLOCK_SIZES:
            raise OptionInvalid(f"--block-size {self.block_size}: expected one of {BLOCK_SIZES}")
        if self.head_bits not in (4, 8, None):
            raise OptionInvalid(f"--head-bits {self.head_bits}: expected 4 or 8")
        if self.scale_bits not in (8, 16, None):
            raise OptionInvalid(f"--scale-bits {self.scale_bits}: expected 8 or 16")
        if self.activations not in get_args(Activations):
            raise OptionInvalid(f"--activations {self.activations!r}: expected int8 or float32")
        if self.kernels not in get_args(Kernels):
            raise OptionInvalid(f"--kernels {self.kernels!r}: expected native or stock")
        if self.kv_cache not in CACHE_DTYPES:
            raise OptionInvalid(f"--kv-cache {self.kv_cache!r}: expected f16 or int8")
        self._check_kernels()
        if self.embeddings not in (*get_args(Embeddings), None):
            raise OptionInvalid(f"--embeddings {self.embeddings!r}: expected mean, last or none")
        if self.rounding not in get_args(Rounding):
            raise OptionInvalid(f"--rounding {self.rounding!r}: expected nearest, search or calibrated")
        if self.rounding == "kept":
            self._check_kept()
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

    def _check_kernels(self) -> None:
        reason = native_obstacle(self.quantization, self.block_size, self.activations)
        if self.kernels == "native" and reason:
            raise OptionInvalid(f"--kernels native doesn't go with {reason}; leave one of them out")
        if self.kernels == "stock" and self.kv_cache is not None:
            raise OptionInvalid(f"--kv-cache {self.kv_cache} goes with --kernels native; the stock cache is float32")
        if self.scale_bits == 8 and reason:
            raise OptionInvalid(f"--scale-bits 8 doesn't go with {reason}; leave one of them out")

    def _check_kept(self) -> None:
        if self.quantization == "none":
            raise OptionInvalid("--rounding kept goes with --quantization int4")
        others = {
            "--block-size": None if self.block_size == 32 else self.block_size,
            "--bits-per-weight": self.bits_per_weight,
            "--calibration": self.calibration,
            "--scale-bits": None if self.scale_bits == 16 else self.scale_bits,
        }
        for option, value in others.items():
            if value is not None:
                raise OptionInvalid(f"--quantization keep takes weights as they are; leave out {option} {value}")

    @property
    def scales(self) -> int:
        """Bits of the scales of 4-bit weights and of the head."""
        other = self.rounding == "kept" or native_obstacle(self.quantization, self.block_size, self.activations)
        return self.scale_bits or (16 if other else 8)

    @property
    def kv_cache_dtype(self) -> str:
        """What the cache holds: float32, float16 or int8."""
        return CACHE_DTYPES["int8" if self.kernels == "native" and self.kv_cache is None else self.kv_cache]

    @property
    def pooling(self) -> Pooling | None:
        """How hidden states become the vector of a text; None where they don't."""
        return None if self.embeddings == "none" else self.embeddings

    def _check_budget(self, budget: float) -> None:
        least, most = 4 + self.scales / self.block_size, 8 + 16 / self.block_size
        if not least <= budget <= most:
            raise OptionInvalid(
                f"--bits-per-weight {budget:g}: blocks of {self.block_size} with their scales take {least:g} "
                f"bits per weight in 4 bits and {most:g} in 8; give a number between"
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


def native_obstacle(quantization: str, block_size: int, activations: str) -> str | None:
    """Say which option, if any, the native kernels can't do."""
    if quantization == "none":
        return "--quantization none"
    if block_size != 32:
        return f"--block-size {block_size} (they have blocks of 32)"
    if activations != "int8":
        return f"--activations {activations} (they multiply with int8)"
    return None


def directory_name(path: Path) -> str:
    """A model id made of a directory's name."""
    return clean_name(path.resolve().name)


def clean_name(name: str) -> str:
    """A model id made of a name."""
    return re.sub(r"[^\w.+-]+", "-", name, flags=re.ASCII)[:128] or "model"
