"""What a start is asked first: a short prompt, or one whose beginning was computed at export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.cold_start.disk import Unavailable
from handler.artefact import load_artefact
from handler.engine.prefixes import read_prefix

TOKENS = 128
BEHIND = 20  # tokens of a question behind a prefix
FIRST_ID = 2  # of a prompt; the ids before are special in most vocabularies
VOCABULARY = 500  # the smallest that is measured
NAMES = ("short", "baked", "unbaked")


@dataclass(frozen=True)
class Prompt:
    """A first request.

    Attributes:
        ids: of its tokens.
        environ: added to the server's environment.
    """

    ids: Sequence[int]
    environ: Mapping[str, str] = field(default_factory=dict)


def prompts_of(names: Sequence[str], model_dir: Path) -> dict[str, Prompt]:
    """Prompts by name: `short`, or the artefact's first prefix and a question, with and without its cache.

    Raises:
        Unavailable: the artefact has no prefix, and one is asked for.
    """
    made = {}
    for name in names:
        ids = invented(TOKENS) if name == "short" else [*_prefix(model_dir), *invented(BEHIND)]
        made[name] = Prompt(ids, {"FIREBRICK_PREFIX_CACHE": "0"} if name == "unbaked" else {})
    return made


def invented(count: int) -> list[int]:
    """So many tokens; what they mean doesn't matter."""
    return [FIRST_ID + number * 7 % (VOCABULARY - FIRST_ID) for number in range(count)]


def _prefix(model_dir: Path) -> Sequence[int]:
    artefact = load_artefact(model_dir, "quick")
    if not artefact.prefixes:
        raise Unavailable(
            f"{model_dir} has no prefix; `python -m model_export.convert {model_dir} --kernels {artefact.kernels} "
            "--prefix FILE` computes one"
        )
    return read_prefix(artefact.path(artefact.prefixes[0]), artefact).ids
