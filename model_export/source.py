"""MODEL on the command line → a local checkpoint or GGUF file, downloaded from the hub if it has to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os.path import exists, isdir, isfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from model_export.checkpoint import Checkpoint, Tensor, load_decoder
from model_export.config import ModelConfig, load_config
from model_export.errors import ModelNotFound
from model_export.files import Files
from model_export.gguf.opening import open_gguf
from model_export.gguf.shards import shard_paths
from model_export.options import clean_name, directory_name

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
HUB_FILE = re.compile(rf"(?P<id>{HUB_ID.pattern})/(?P<file>(?:[\w][\w.+-]*/)*[\w][\w.+-]*\.gguf)", re.ASCII)
GGUF = ".gguf"
# Weights, configuration and tokenizer; repositories often hold the same weights in other formats too.
WANTED = ["*.json", "*.safetensors", "*.jinja"]
UNWANTED = ["*/*/*", "*/*.safetensors", "consolidated*.safetensors"]


@dataclass(frozen=True)
class Source:
    """Where the checkpoint lies, and what it is called.

    Attributes:
        directory: its small files.
        model_id: by what the server answers to it.
        revision: the hub's commit, if it is from there.
        tensors: of a GGUF file; None where the weights lie in the directory.
        gguf: the file, or the first of several.
    """

    directory: Files
    model_id: str
    revision: str | None
    tensors: Mapping[str, Tensor] | None = None
    gguf: Path | None = None

    def decoder(self) -> tuple[ModelConfig, bool]:
        """What the model is, and whether it lacks a head; raises as `model_export.checkpoint.load_decoder`."""
        return (load_config(self.directory), False) if self.tensors is not None else load_decoder(self.path)

    def checkpoint(self, config: ModelConfig) -> Checkpoint:
        """The weights; raises as `model_export.checkpoint.Checkpoint.open`."""
        if self.tensors is not None:
            return Checkpoint.of(self.tensors, config)
        return Checkpoint.open(self.path, config)

    @property
    def path(self) -> Path:
        """The directory of a checkpoint that isn't a GGUF file."""
        assert isinstance(self.directory, Path)
        return self.directory


def resolve(model: str, revision: str | None) -> Source:
    """Find the checkpoint.

    Args:
        model: a directory, a GGUF file, a hub id such as `meta-llama/Llama-3.2-3B-Instruct`, or such a file there,
            as `owner/name/file.gguf`; of a model in several files, any one.
        revision: branch, tag or commit on the hub.

    Raises:
        ModelNotFound: no such directory or file, or the hub refused; the message says why and what to do.
        ExportError: a GGUF file can't be what is exported, see `model_export.gguf.opening.open_gguf`.
    """
    directory = Path(model)
    if isdir(model):  # unlike Path's methods, os.path's take any text
        if revision is not None:
            raise ModelNotFound(f"--revision {revision} goes with a hub id, but {model} is a directory")
        return Source(directory, directory_name(directory), None)
    if isfile(model) and model.endswith(GGUF):
        if revision is not None:
            raise ModelNotFound(f"--revision {revision} goes with a hub id, but {model} is a file")
        return _gguf(Path(model))
    if exists(model):
        raise ModelNotFound(f"{model} is a file: give the checkpoint's directory, or a file that ends in {GGUF}")
    if match := HUB_FILE.fullmatch(model):
        return _download_gguf(match["id"], match["file"], revision)
    if not HUB_ID.fullmatch(model):
        raise ModelNotFound(f"{model} is neither a directory nor a GGUF file nor a hub id such as owner/name")
    path = _download(model, revision, WANTED, UNWANTED)
    return Source(path, model, path.name)


def _gguf(path: Path, revision: str | None = None) -> Source:
    name, files, tensors = open_gguf(path)
    return Source(files, clean_name(name), revision, tensors, path)


def _download_gguf(model: str, file: str, revision: str | None) -> Source:
    _, parts = shard_paths(PurePosixPath(file))
    directory = _download(model, revision, [str(part) for part in parts], [])
    if not isfile(directory / file):
        raise ModelNotFound(f"{model} has no file {file}: its page on the hub lists those that it has")
    return _gguf(directory / file, directory.name)


def _download(model: str, revision: str | None, wanted: list[str], unwanted: list[str]) -> Path:
    """Fetch files of a repository; gives the directory, whose name is the commit."""
    # Imported here: half a second that an export from a directory needn't pay.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        path = snapshot_download(model, revision=revision, allow_patterns=wanted, ignore_patterns=unwanted)
    except GatedRepoError as error:
        raise ModelNotFound(
            f"{model} is gated: accept its terms on its hub page, then set HF_TOKEN to a token of that account "
            f"(the hub says: {_reason(error)})"
        ) from None
    except RevisionNotFoundError as error:
        raise ModelNotFound(f"{model} has no revision {revision!r} (the hub says: {_reason(error)})") from None
    except RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"the hub knows no repository {model}, or it is private: check the name, and set HF_TOKEN if it is "
            f"private (the hub says: {_reason(error)})"
        ) from None
    except LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, HfHubHTTPError):  # the hub was reached, and refused
            raise ModelNotFound(_refused(model, error.__cause__)) from None
        raise ModelNotFound(
            f"{model} is not in the local cache and the hub can't be reached: connect, set HF_ENDPOINT, or give "
            f"a directory ({_reason(error)})"
        ) from None
    except HfHubHTTPError as error:
        raise ModelNotFound(_refused(model, error)) from None
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{model} could not be downloaded: {_reason(error)}") from None
    return Path(path)


def _refused(model: str, error: HfHubHTTPError) -> str:
    advice = "; check HF_TOKEN" if error.response.status_code in (401, 403) else ""
    return f"{model} could not be downloaded (the hub says: {_reason(error)}){advice}"


def _reason(error: Exception) -> str:
    text = getattr(error, "server_message", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
