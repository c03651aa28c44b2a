"""MODEL on the command line → a local checkpoint directory, downloaded from the hub if it has to be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from os.path import exists, isdir
from pathlib import Path
from typing import TYPE_CHECKING

from model_export.errors import ModelNotFound
from model_export.options import directory_name

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
# Weights, configuration and tokenizer; repositories often hold the same weights in other formats too.
WANTED = ["*.json", "*.safetensors", "*.jinja"]
UNWANTED = ["*/*/*", "*/*.safetensors", "consolidated*.safetensors"]


@dataclass(frozen=True)
class Source:
    """Where the checkpoint lies, and what it is called."""

    directory: Path
    model_id: str
    revision: str | None


def resolve(model: str, revision: str | None) -> Source:
    """Find the checkpoint.

    Args:
        model: a directory, or a hub id such as `meta-llama/Llama-3.2-3B-Instruct`.
        revision: branch, tag or commit on the hub.

    Raises:
        ModelNotFound: no such directory, or the hub refused; the message says why and what to do.
    """
    directory = Path(model)
    if isdir(model):  # unlike Path's methods, os.path's take any text
        if revision is not None:
            raise ModelNotFound(f"--revision {revision} goes with a hub id, but {model} is a directory")
        return Source(directory, directory_name(directory), None)
    if exists(model):
        raise ModelNotFound(f"{model} is a file: give the checkpoint's directory")
    if not HUB_ID.fullmatch(model):
        raise ModelNotFound(f"{model} is neither a directory nor a hub id such as owner/name")
    return _download(model, revision)


def _download(model: str, revision: str | None) -> Source:
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
        path = snapshot_download(model, revision=revision, allow_patterns=WANTED, ignore_patterns=UNWANTED)
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
    commit = Path(path).name
    return Source(Path(path), model, commit)


def _refused(model: str, error: HfHubHTTPError) -> str:
    advice = "; check HF_TOKEN" if error.response.status_code in (401, 403) else ""
    return f"{model} could not be downloaded (the hub says: {_reason(error)}){advice}"


def _reason(error: Exception) -> str:
    text = getattr(error, "server_message", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
