"""A GGUF file → everything that an export needs of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_export.config import parse_config
from model_export.files import MemoryFiles
from model_export.gguf.config import Keys, config, generation, pooling
from model_export.gguf.shards import open_model
from model_export.gguf.tensors import GgufTensor, tensors
from model_export.gguf.vocabulary import end_ids, read_vocabulary, tokenizer, tokenizer_config


def open_gguf(path: Path) -> tuple[str, MemoryFiles, Mapping[str, GgufTensor]]:
    """Read a model's headers and say what they hold as a checkpoint would.

    Args:
        path: the file, or any of several.

    Returns:
        the model's name by that of the file; the small files; the tensors by their names in a checkpoint.

    Raises:
        CheckpointDamaged: a file is missing or malformed.
        CheckpointMismatch: a tensor is in two files.
        GgufUnsupported: it has a version or a type that can't be read.
        ConfigInvalid: a key is missing, or has an impossible value.
        ArchitectureUnsupported: the model needs something that isn't built.
        TokenizerInvalid: the vocabulary is incomplete or contradicts itself.
        TokenizerUnsupported: it is of a kind that we don't know.
    """
    model = open_model(path)
    keys = Keys(model)
    raw = config(keys)
    parsed = parse_config(raw)
    vocabulary = read_vocabulary(keys)
    contents: dict[str, Any] = {
        "config.json": raw,
        "tokenizer.json": tokenizer(keys, vocabulary),
        "tokenizer_config.json": tokenizer_config(keys, vocabulary),
        "generation_config.json": {**generation(keys), "eos_token_id": end_ids(keys, vocabulary)},
    }
    if (pooled := pooling(keys)) is not None:
        contents |= {"modules.json": _MODULES, "1_Pooling/config.json": pooled}
    files = MemoryFiles(str(path), {name: _json(value) for name, value in contents.items()})
    return model.name, files, tensors(model, parsed)


_MODULES = [
    {"type": "sentence_transformers.models.Transformer", "path": ""},
    {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
]


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
