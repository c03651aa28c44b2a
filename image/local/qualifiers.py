"""Versions and aliases: the names that an invoke may have, and the version that runs for each.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html and configuration-aliases.html
"""

from __future__ import annotations

from dataclasses import dataclass

from image.local.limits import LATEST


@dataclass(frozen=True)
class Target:
    """What an invoke is aimed at.

    Attributes:
        version: What runs: `$LATEST` or a number.
        qualifier: A version or an alias, as the caller named it; None if the caller named none.
    """

    version: str = LATEST
    qualifier: str | None = None

    def arn(self, function: str) -> str:
        """Return the ARN that the function sees, given its own: with the qualifier, if there was one."""
        return f"{function}:{self.qualifier}" if self.qualifier else function


@dataclass(frozen=True)
class Qualifiers:
    """The names of one function.

    Attributes:
        version: A published version, besides `$LATEST`.
        aliases: Names of that version.
    """

    version: str | None = None
    aliases: tuple[str, ...] = ()

    def find(self, qualifier: str | None) -> Target | None:
        """Return what a qualifier stands for, or None if nothing has that name."""
        if qualifier is None or qualifier == LATEST:
            return Target(LATEST, qualifier)
        if self.version is not None and qualifier in (self.version, *self.aliases):
            return Target(self.version, qualifier)
        return None

    @property
    def served(self) -> Target:
        """What the function URL and the queue invoke: the first alias, else the version, else `$LATEST`."""
        if self.version is None:
            return Target()
        return Target(self.version, self.aliases[0] if self.aliases else self.version)
