"""What keeps a server from starting: its settings and its machine."""

from __future__ import annotations

from handler.errors.base import StartupError


class SettingsError(StartupError):
    """A setting has a value that it can't have."""

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(f"{key}={value!r} is not valid: expected {expected}")


class PortInUse(StartupError):
    """The address to listen on can't be had."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {reason}; choose another with --port or PORT")


class KernelsMissing(StartupError):
    """The artefact asks for native kernels, and their library isn't there."""

    def __init__(self, path: object, artefact: object) -> None:
        super().__init__(
            f"{path} is missing, the library of the native kernels that {artefact} asks for: build it with `make "
            "setup` where there is cargo, name another file in FIREBRICK_KERNELS, or convert the artefact with "
            f"`python -m model_export.convert {artefact} --kernels stock`"
        )


class KernelsUnusable(StartupError):
    """The library of native kernels is there and can't be loaded."""


class IsaUnavailable(StartupError):
    """FIREBRICK_ISA names instructions that the library doesn't know or this processor doesn't have."""


class TokenizerError(StartupError):
    """The tokenizer's binary form can't be read."""


class TemplateInvalid(StartupError):
    """The chat template can't be compiled."""


class PromptRefused(StartupError):
    """A file can't be made a prefix: it is missing, no prompt, too long, or nothing that prompts have in common."""

    def __init__(self, path: object, reason: object) -> None:
        super().__init__(f"{path} can't be a prefix: {reason}")


class PrefixUnwritable(StartupError):
    """A prefix can't be written to where it belongs."""

    def __init__(self, path: object, reason: object) -> None:
        super().__init__(f"{path} can't be written: {reason}")
