"""What is wrong with an artefact."""

from __future__ import annotations

from handler.errors.base import StartupError, shown


class ArtefactError(StartupError):
    """The artefact directory can't be served."""


class ArtefactMissing(ArtefactError):
    """The directory or one of its files isn't there."""


class ArtefactDamaged(ArtefactError):
    """A file isn't what the manifest or the format says."""


class ArtefactVersion(ArtefactError):
    """The format version is one that this handler doesn't know."""


class PrefixDamaged(ArtefactError):
    """A prefix's file isn't what the format says."""

    def __init__(self, path: object, reason: object) -> None:
        super().__init__(f"{path} is no whole prefix: {reason}; export the model again with --prefix")


class PrefixMismatch(ArtefactError):
    """A prefix was computed with another model, for another cache, or in another version of the format."""

    def __init__(self, path: object, what: str, found: object, expected: object) -> None:
        super().__init__(
            f"{path} is of another artefact: its {what} is {shown(found)}, not {shown(expected)}; "
            "export the model again with --prefix, or leave the file out"
        )
