"""Tools that a conversation offers: what any endpoint's request says of them, in one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Tool:
    """A function that the client can run.

    Attributes:
        name: Letters, digits, `_`, `-` and `.`.
        description: For the model.
        parameters: A JSON Schema of an object.
        strict: Whether the client insists on arguments that are valid by it.
        path: Where the request has the schema, for errors.
    """

    name: str
    description: str | None
    parameters: Mapping[str, Any]
    strict: bool
    path: str

    def declared(self) -> dict[str, Any]:
        """Return it in OpenAI's form, as chat templates take it."""
        told = {"name": self.name, "description": self.description or "", "parameters": dict(self.parameters)}
        return {"type": "function", "function": told}


@dataclass(frozen=True)
class Tools:
    """The tools of a request.

    Attributes:
        offered: All that the model is shown.
        choice: Whether it may call one, must, or may not.
        allowed: Names of those that it may call; None for all.
        parallel: Whether one answer may have several calls.
    """

    offered: tuple[Tool, ...]
    choice: Literal["none", "auto", "required"] = "auto"
    allowed: frozenset[str] | None = None
    parallel: bool = True

    @property
    def callable(self) -> tuple[Tool, ...]:
        """Those that may be called."""
        if self.choice == "none":
            return ()
        return tuple(tool for tool in self.offered if self.allowed is None or tool.name in self.allowed)
