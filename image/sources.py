"""Which images ours are made from: those that were named, AWS's own, or local ones where no registry is reachable."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from image.base.names import ADAPTER, BASE, BUILDER
from image.engines import Engine

PYTHON_VERSION = "3.13"  # the newest that all pinned wheels are there for; AWS's image of 3.11 has a glibc too old
REGISTRY = "public.ecr.aws"
ADAPTER_VERSION = "0.9.1"
REACH_S = 5


@dataclass(frozen=True)
class Sources:
    """Names of images.

    Attributes:
        base: what ours begin with.
        builder: where pip runs, on the same Python.
        adapter: has /lambda-adapter.
        local: whether one of them has to be made from packages first.
    """

    base: str
    builder: str
    adapter: str
    local: bool

    @property
    def arguments(self) -> dict[str, str]:
        """The Dockerfile's arguments."""
        return {"BASE_IMAGE": self.base, "BUILDER_IMAGE": self.builder, "LWA_IMAGE": self.adapter}


def choose_sources(given: Mapping[str, str], engine: Engine, reachable: Callable[[str], bool] | None = None) -> Sources:
    """Choose what wasn't given: AWS's public images, or local ones if these can't be had.

    Args:
        given: BASE_IMAGE, BUILDER_IMAGE, LWA_IMAGE, PYTHON_VERSION; empty counts as not given.
        engine: whose storage counts as reachable.
        reachable: whether a registry answers.
    """
    version = given.get("PYTHON_VERSION") or PYTHON_VERSION
    aws_base = f"{REGISTRY}/lambda/python:{version}"
    aws_adapter = f"{REGISTRY}/awsguru/aws-lambda-adapter:{ADAPTER_VERSION}"
    answers = (reachable or registry_answers)(REGISTRY)

    def choose(key: str, aws: str, local: str) -> str:
        return given.get(key) or (aws if answers or engine.has(aws) else local)

    base = choose("BASE_IMAGE", aws_base, BASE)
    builder = given.get("BUILDER_IMAGE") or (BUILDER if base == BASE else base)
    adapter = choose("LWA_IMAGE", aws_adapter, ADAPTER)
    return Sources(base, builder, adapter, bool({base, builder, adapter} & {BASE, BUILDER, ADAPTER}))


def registry_answers(host: str) -> bool:
    """Whether a registry says anything at all, be it that it wants a token."""
    try:
        with urllib.request.urlopen(f"https://{host}/v2/", timeout=REACH_S):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except OSError:
        return False
