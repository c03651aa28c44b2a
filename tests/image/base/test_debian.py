"""The base image's recipe."""

from __future__ import annotations

from pathlib import Path

from image.base.debian import PACKAGES, mmdebstrap_command
from image.base.names import BASE, BUILDER


def test_only_the_builder_has_pip() -> None:
    assert set(PACKAGES[BUILDER]) - set(PACKAGES[BASE]) == {"python3-pip"}


def test_nothing_that_names_a_mirror_or_a_machine_stays() -> None:
    hook = next(word for word in mmdebstrap_command(PACKAGES[BASE], Path("root.tar")) if "customize-hook" in word)
    for path in ("etc/apt/sources.list*", "etc/hostname", "etc/resolv.conf", "etc/machine-id"):
        assert f'"$1"/{path}' in hook
