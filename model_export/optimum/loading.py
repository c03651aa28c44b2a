"""A checkpoint as transformers loads it, in float32, whole or not at all."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_export.config import read_json, token_ids
from model_export.errors import (
    ArchitectureUnsupported,
    CheckpointDamaged,
    ConfigInvalid,
    LibrariesMissing,
    OptionInvalid,
)
from model_export.options import DEFAULT_CONTEXT

TASK = "text-generation-with-past"
SHOWN = 3  # names of tensors in a message


@dataclass(frozen=True)
class Loaded:
    """What is to be known of a model.

    Attributes:
        family: its `model_type`.
        parameters: weights of the checkpoint, a tied one once.
        positions: what it has learnt at most; None where its config doesn't say.
    """

    family: str
    parameters: int
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    positions: int | None
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]

    def context_length(self, asked: int | None) -> int:
        """Positions of the artefact.

        Raises:
            OptionInvalid: more were asked for than the model has learnt, or nobody says how many that is.
        """
        if asked is None and self.positions is None:
            raise OptionInvalid(
                f"config.json of this {self.family} doesn't say how many positions it has: give --context"
            )
        if asked is not None and self.positions is not None and asked > self.positions:
            raise OptionInvalid(f"--context {asked} is beyond the model's {self.positions} positions")
        return asked or min(self.positions or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


def load(directory: Path) -> tuple[Any, Loaded]:
    """Load a checkpoint.

    Args:
        directory: with config.json and SafeTensors files; pickled weights and code in it are never run.

    Returns:
        transformers' `PreTrainedModel` in evaluation mode, and what is to be known of it.

    Raises:
        LibrariesMissing: torch, transformers or optimum-onnx isn't installed here.
        ConfigInvalid: config.json is missing or malformed, or lacks what describes a decoder.
        ArchitectureUnsupported: neither transformers nor optimum knows it, or its weights are quantized already.
        CheckpointDamaged: a weights file or a tensor is missing, malformed, of another shape, or not finite.
    """
    raw = read_json(directory / "config.json")
    config = _config(directory, raw)
    model = _model(directory, config)
    try:
        return model, Loaded(
            family=str(config.model_type),
            parameters=sum(int(parameter.numel()) for parameter in model.parameters()),
            vocab_size=int(config.vocab_size),
            hidden_size=int(config.hidden_size),
            num_hidden_layers=int(config.num_hidden_layers),
            num_attention_heads=int(config.num_attention_heads),
            positions=_positions(config),
            bos_token_id=next(iter(token_ids(config.bos_token_id, "bos_token_id in config.json")), None),
            eos_token_ids=token_ids(config.eos_token_id, "eos_token_id in config.json"),
        )
    except (AttributeError, TypeError) as error:
        raise ConfigInvalid(f"{directory / 'config.json'} doesn't describe a decoder: {error}") from None


def _config(directory: Path, raw: dict[str, Any]) -> Any:
    try:
        import optimum.exporters.onnx.model_configs  # noqa: F401 (it registers what it knows)
        import torch  # noqa: F401
        from optimum.exporters.tasks import TasksManager
        from transformers import AutoConfig
    except ImportError as error:
        raise LibrariesMissing(
            f"--builder optimum needs torch, transformers and optimum-onnx ({error}): run make export BUILDER=optimum, "
            "which installs them (5.7 GB) into an environment of their own"
        ) from None
    for library in ("transformers", "optimum"):
        logging.getLogger(library).setLevel(logging.ERROR)  # advice to who trains or saves
    if raw.get("quantization_config"):
        raise ArchitectureUnsupported("the checkpoint is quantized already; export the bf16, f16 or f32 original")
    family = raw.get("model_type")
    if not isinstance(family, str):
        raise ConfigInvalid(f"model_type in {directory / 'config.json'} is {family!r}: expected a name")
    try:
        tasks = TasksManager.get_supported_tasks_for_model_type(family, "onnx", library_name="transformers")
    except KeyError:
        tasks = {}
    if TASK not in tasks:
        raise ArchitectureUnsupported(f"model_type {family!r} isn't one that optimum-onnx exports for generating text")
    try:
        return AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigInvalid(f"transformers can't read {directory / 'config.json'}: {_line(error)}") from None


def _model(directory: Path, config: Any) -> Any:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            directory,
            config=config,
            dtype=torch.float32,
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # or they aren't named
            output_loading_info=True,
        )
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointDamaged(f"transformers can't load {directory}: {_line(error)}") from None
    for key, what in (("missing_keys", "lacks"), ("mismatched_keys", "has another shape of")):
        # With a tensor of another shape come both shapes.
        if names := sorted(entry if isinstance(entry, str) else entry[0] for entry in found[key]):
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise CheckpointDamaged(f"{directory} {what} {', '.join(names[:SHOWN])}{more}, by its config.json")
    for name, tensor in model.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointDamaged(f"{name} in {directory} has values that are no numbers (NaN or infinity)")
    return model.eval()


def _positions(config: Any) -> int | None:
    found = getattr(config, "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
