"""The artefact directory, checked and described; docs/artefact.md is its specification."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from os.path import isfile
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from handler.errors import ArtefactDamaged, ArtefactMissing, ArtefactVersion
from handler.hashes import sha256_of, sha256_of_file

FORMAT_VERSIONS = (1, 2)
GRAPH = "model.onnx"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.kit"
DESCRIPTION = "firebrick.json"
MANIFEST = "manifest.json"
PREFIX = re.compile(r"prefix-([1-9]\d{0,3})\.kv")
LEFT_TO_THE_BUILD = (WEIGHTS, "tokenizer.json")  # too large to hash at every start, or never read by the handler
REQUIRED = (GRAPH, WEIGHTS, TOKENIZER, DESCRIPTION)
# Kernels, and what the cache may hold with each.
KERNELS: Mapping[str, tuple[str, ...]] = {"stock": ("float32",), "native": ("float16", "int8")}
Pooling = Literal["mean", "last"]
T = TypeVar("T")
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True)
class SamplingDefaults:
    """Sampling that a request gets when it doesn't choose, as the checkpoint's authors recommend."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class Embeddings:
    """How a text becomes a vector.

    Attributes:
        pooling: what is made of the hidden states: the mean of all, or the last one.
        size: elements of the vector.
        only: whether the model has no head, so that it can do nothing else.
    """

    pooling: Pooling
    size: int
    only: bool = False


@dataclass(frozen=True)
class Artefact:
    """What firebrick.json says, validated.

    Attributes:
        prefix_ids: what the tokenizer puts before a raw text, such as the beginning-of-text token.
        suffix_ids: what it puts behind one.
        special_tokens: texts of bos_token, eos_token, unk_token and pad_token, as far as there are any.
        head_dim: of the cache, in elements.
        kernels: "stock" for onnxruntime's operators, "native" for ours.
        kv_cache_dtype: "float32", "float16" or "int8".
        embeddings: None where the artefact isn't meant for them.
        prefixes: names of the files with caches of prompts' beginnings.
        cache_key: hash of what a cache is computed with: such a file goes with no other graph or weights.
        fingerprint: short hash of the manifest, the same for the same artefact.
        created: seconds since the epoch.
        tool_format: how the model writes calls; None for the handler to tell by the chat template.
        reasoning_format: how it writes thoughts; None for the same.
        uri: where it came from, if not from a directory.
        held: its files by name, where they lie in memory and not in the directory.
    """

    directory: Path
    model_id: str
    revision: str | None
    context_length: int
    vocab_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    kernels: str
    kv_cache_dtype: str
    bos_token_id: int | None
    eos_token_ids: frozenset[int]
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    special_tokens: Mapping[str, str]
    sampling_defaults: SamplingDefaults
    embeddings: Embeddings | None
    prefixes: tuple[str, ...]
    cache_key: str
    fingerprint: str
    created: int
    tool_format: str | None = None
    reasoning_format: str | None = None
    uri: str | None = None
    held: Mapping[str, Path] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """Where one of its files can be opened, whether it is there or not."""
        return self.held.get(name, self.directory / name)

    @property
    def told(self) -> str:
        """What messages call it."""
        return self.uri or str(self.directory)


def load_artefact(directory: Path, verify: Literal["full", "quick"] = "full") -> Artefact:
    """Check an artefact and read its description.

    Args:
        directory: made by `python -m model_export`.
        verify: "full" hashes every file; "quick" hashes what the handler reads but the weights and the prefixes, and
            checks all sizes: for places where the whole was verified when it was put there.

    Raises:
        ArtefactMissing: there is no such directory, or a file is missing from it.
        ArtefactVersion: it has a format version, kernels or a cache that this handler doesn't know.
        ArtefactDamaged: a file isn't what the manifest says, or the description is malformed.
    """
    if not directory.is_dir():
        raise ArtefactMissing(f"{directory} is no directory: give an artefact made by `make export`")
    artefact = read_description(directory)
    content = _read(directory / MANIFEST)
    manifest = parse_json(content, directory / MANIFEST)
    _check_files(directory, manifest, verify)
    return _completed(artefact, manifest["files"], content)


def describe_held(uri: str, held: Mapping[str, Path], files: Mapping[str, Any], manifest: bytes) -> Artefact:
    """Describe an artefact whose files lie in memory and are verified.

    Args:
        uri: where they came from.
        held: by name, the description among them.
        files: the manifest's.
        manifest: all of it, as it was written.

    Raises:
        ArtefactVersion: as for `load_artefact`.
        ArtefactDamaged: the description is malformed.
    """
    path, told = held[DESCRIPTION], f"{uri}/{DESCRIPTION}"
    artefact = _describe(path.parent, parse_json(path.read_bytes(), told), told, path.stat().st_mtime)
    return replace(_completed(artefact, files, manifest), uri=uri, held=held)


def _completed(artefact: Artefact, files: Mapping[str, Any], manifest: bytes) -> Artefact:
    """Add what the manifest says."""
    hashes = "".join(str(files[name].get("sha256")) for name in (GRAPH, WEIGHTS))
    numbers = sorted(int(found[1]) for name in files if (found := PREFIX.fullmatch(name)))
    return replace(
        artefact,
        prefixes=tuple(f"prefix-{number}.kv" for number in numbers),
        cache_key=sha256_of(hashes.encode()),
        fingerprint=sha256_of(manifest)[:12],
    )


def read_description(directory: Path) -> Artefact:
    """Read what an artefact says of itself, before its other files are there or looked at.

    Returns:
        it, without what the manifest adds.

    Raises:
        ArtefactMissing: there is no description.
        ArtefactVersion: as for `load_artefact`.
        ArtefactDamaged: the description is malformed.
    """
    path = directory / DESCRIPTION
    return _describe(directory, parse_json(_read(path), path), path, path.stat().st_mtime)


def _describe(directory: Path, description: Mapping[str, Any], told: object, created: float) -> Artefact:
    _check_version(told, description)
    return _parse(directory, description, told, int(created))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ArtefactMissing(
            f"{path} is missing: {path.parent} is no whole artefact; export the model again"
        ) from None
    except OSError as error:
        raise ArtefactDamaged(f"{path} can't be read as JSON ({error}); export the model again") from None


def parse_json(content: bytes, told: object) -> dict[str, Any]:
    """Read one of the JSON files.

    Args:
        content: the file's.
        told: what messages call it.

    Raises:
        ArtefactDamaged: it is no JSON object.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtefactDamaged(f"{told} can't be read as JSON ({error}); export the model again") from None
    if not isinstance(value, dict):
        raise ArtefactDamaged(f"{told} holds a JSON {type(value).__name__}, not an object; export the model again")
    return value


def _check_version(path: object, description: Mapping[str, Any]) -> None:
    found = description.get("format_version")
    if found not in FORMAT_VERSIONS or isinstance(found, bool):
        known = " and ".join(map(str, FORMAT_VERSIONS))
        raise ArtefactVersion(
            f"{path} has format_version {found!r}, this handler reads {known}; export the model again"
        )
    kernels, cache = description.get("kernels"), description.get("kv_cache_dtype")
    if kernels not in tuple(KERNELS):
        raise ArtefactVersion(f"{path} asks for kernels {kernels!r}, this handler has {', '.join(KERNELS)}")
    if cache not in KERNELS[str(kernels)]:
        known = ", ".join(KERNELS[str(kernels)])
        raise ArtefactVersion(f"{path} asks for a cache of {cache!r}, with {kernels} kernels this handler has {known}")


def _check_files(directory: Path, manifest: Mapping[str, Any], verify: str) -> None:
    files = manifest.get("files")
    if not isinstance(files, dict) or not set(REQUIRED) <= set(files):
        raise ArtefactDamaged(f"{directory / MANIFEST} doesn't list all files; export the model again")
    # The small files first: their damage is found at once.
    for name in sorted(files, key=lambda name: (name == WEIGHTS, name)):
        entry = files[name]
        path = directory / name
        if not isinstance(entry, dict) or path.parent != directory:
            raise ArtefactDamaged(f"{directory / MANIFEST} has a malformed entry {name!r}; export the model again")
        if not isfile(path):  # Path.is_file raises for a name that is too long
            raise ArtefactMissing(f"{path} is missing; export the model again")
        if path.stat().st_size != entry.get("size"):
            raise ArtefactDamaged(
                f"{path} has {path.stat().st_size} bytes instead of {entry.get('size')}; export the model again"
            )
        left = verify == "quick" and (name in LEFT_TO_THE_BUILD or PREFIX.fullmatch(name))
        if not left and _sha256(path) != entry.get("sha256"):
            raise ArtefactDamaged(f"{path} is damaged: its sha256 isn't the manifest's; export the model again")


def _sha256(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise ArtefactDamaged(f"{path} can't be read: {error}") from None


def _parse(directory: Path, description: Mapping[str, Any], told: object, created: int) -> Artefact:
    try:
        tokenizer = description["tokenizer"]
        defaults = description["sampling_defaults"]
        return Artefact(
            directory=directory,
            model_id=_text(description["model"], "id"),
            revision=_optional(_text, description["model"], "revision"),
            context_length=_integer(description, "context_length", 1),
            vocab_size=_integer(description, "vocab_size", 1),
            num_hidden_layers=_integer(description, "num_hidden_layers", 1),
            num_attention_heads=_integer(description, "num_attention_heads", 1),
            num_key_value_heads=_integer(description, "num_key_value_heads", 1),
            head_dim=_integer(description, "head_dim", 1),
            kernels=_text(description, "kernels"),
            kv_cache_dtype=_text(description, "kv_cache_dtype"),
            bos_token_id=_optional(_integer, tokenizer, "bos_token_id"),
            eos_token_ids=frozenset(_ids(tokenizer, "eos_token_ids")),
            prefix_ids=_ids(tokenizer, "prefix_ids"),
            suffix_ids=_ids(tokenizer, "suffix_ids"),
            special_tokens={name: _text(tokenizer, name) for name in SPECIAL_TOKENS if tokenizer[name] is not None},
            sampling_defaults=SamplingDefaults(
                temperature=float(defaults.get("temperature", 1.0)),
                top_p=float(defaults.get("top_p", 1.0)),
                top_k=int(defaults.get("top_k", 0)),
                min_p=float(defaults.get("min_p", 0.0)),
                repetition_penalty=float(defaults.get("repetition_penalty", 1.0)),
            ),
            embeddings=_embeddings(description),
            prefixes=(),
            cache_key="",
            fingerprint="",
            created=created,
            tool_format=_optional(_text, {"tool_format": None, **description}, "tool_format"),
            reasoning_format=_optional(_text, {"reasoning_format": None, **description}, "reasoning_format"),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtefactDamaged(f"{told} lacks or misspells {error}; export the model again") from None


def _text(values: Mapping[str, Any], key: str) -> str:
    if not isinstance(values[key], str):
        raise ValueError(f"{key}, which is {values[key]!r} and no text")
    return str(values[key])


def _integer(values: Mapping[str, Any], key: str, least: int = 0) -> int:
    value = values[key]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise ValueError(f"{key}, which is {value!r} and no integer from {least} on")
    return value


def _ids(values: Mapping[str, Any], key: str) -> tuple[int, ...]:
    return tuple(_integer({key: value}, key) for value in values[key])


def _embeddings(description: Mapping[str, Any]) -> Embeddings | None:
    found = description.get("embeddings")  # older exporters write none
    if found is None:
        return None
    pooling: Pooling = found["pooling"]
    if pooling not in get_args(Pooling):
        raise ValueError(f"embeddings.pooling, which is {pooling!r} and none of {', '.join(get_args(Pooling))}")
    return Embeddings(pooling, _integer(description, "hidden_size", 1), found.get("only", False) is True)


def _optional(read: Callable[[Mapping[str, Any], str], T], values: Mapping[str, Any], key: str) -> T | None:
    return None if values[key] is None else read(values, key)
