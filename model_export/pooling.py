"""What a checkpoint for sentence-transformers says of itself: how hidden states become the vector of a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from model_export.config import read_json
from model_export.errors import ConfigInvalid, PoolingUnsupported
from model_export.files import Files
from model_export.options import Pooling

MODULES = "modules.json"
# sentence-transformers' names of them, https://sbert.net/docs/package_reference/sentence_transformer/models.html
POOLINGS: Mapping[str, Pooling] = {"mean": "mean", "lasttoken": "last"}
OLD_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
BUILT = ("Transformer", "Pooling", "Normalize")


def declared(directory: Files) -> Pooling | None:
    """Find out how a checkpoint's vectors are made.

    Returns:
        None for a checkpoint that isn't sentence-transformers'.

    Raises:
        ConfigInvalid: one of its files is missing, or isn't what it should be.
        PoolingUnsupported: it has another pooling, or more layers behind it.
    """
    if not (directory / MODULES).is_file():
        return None
    paths: dict[str, str] = {}
    for module in _modules(directory / MODULES):
        kind = module["type"].rpartition(".")[2]
        if kind not in BUILT:
            raise PoolingUnsupported(f"{directory / MODULES} has a module {kind}; these are built: {', '.join(BUILT)}")
        paths[kind] = module["path"]
    if "Pooling" not in paths:
        raise PoolingUnsupported(f"{directory / MODULES} has no Pooling: what would be the vector of a text?")
    path = PurePosixPath(paths["Pooling"])
    if path.is_absolute() or ".." in path.parts:
        raise ConfigInvalid(f"{directory / MODULES} names a directory outside of the checkpoint: {str(path)!r}")
    file = directory / str(path) / "config.json"
    mode = _mode(read_json(file))
    if mode not in POOLINGS:
        raise PoolingUnsupported(f"{file} asks for the pooling {mode!r}; these are built: {', '.join(POOLINGS)}")
    return POOLINGS[mode]


def _modules(path: Files) -> list[dict[str, str]]:
    try:
        modules: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigInvalid(f"{path} can't be read as JSON: {error}") from None
    if not isinstance(modules, list) or not all(_is_module(module) for module in modules):
        raise ConfigInvalid(f"{path} is no list of modules with type and path")
    return modules


def _is_module(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str) and isinstance(value.get("path"), str)


def _mode(config: Mapping[str, Any]) -> str:
    """The pooling of a module; several are put one behind the other, which is none that we know."""
    if config.get("pooling_mode") is not None:
        return str(config["pooling_mode"])
    return " and ".join(name for key, name in OLD_NAMES.items() if config.get(key)) or "none"
