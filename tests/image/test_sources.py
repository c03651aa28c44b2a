"""What the images are made from."""

from __future__ import annotations

import pytest

from image.base.names import ADAPTER, BASE, BUILDER
from image.engines import Engine
from image.errors import ImageMissing
from image.sources import choose_sources, registry_answers


class Storage(Engine):
    """An engine that keeps no image."""

    def image_id(self, image: str) -> str:
        raise ImageMissing(image, self.name)


EMPTY = Storage("podman")


def test_awss_own_images_are_the_default() -> None:
    sources = choose_sources({}, EMPTY, lambda host: True)
    assert sources.base == sources.builder == "public.ecr.aws/lambda/python:3.13"
    assert sources.adapter == "public.ecr.aws/awsguru/aws-lambda-adapter:0.9.1"
    assert not sources.local


def test_local_ones_do_where_no_registry_answers() -> None:
    sources = choose_sources({}, EMPTY, lambda host: False)
    assert (sources.base, sources.builder, sources.adapter, sources.local) == (BASE, BUILDER, ADAPTER, True)


def test_what_was_named_is_taken() -> None:
    named = {"BASE_IMAGE": "example.org/base", "LWA_IMAGE": "example.org/adapter"}
    sources = choose_sources(named, EMPTY, lambda host: False)
    assert sources.arguments == {
        "BASE_IMAGE": "example.org/base",
        "BUILDER_IMAGE": "example.org/base",
        "LWA_IMAGE": "example.org/adapter",
    }


def test_the_version_of_python_chooses_awss_image() -> None:
    assert choose_sources({"PYTHON_VERSION": "3.12"}, EMPTY, lambda host: True).base.endswith("python:3.12")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "registry.invalid"])
def test_a_registry_that_is_not_there_does_not_answer(host: str) -> None:
    assert not registry_answers(host)
