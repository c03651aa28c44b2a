"""`image.publish` with a registry on loopback behind ECR: moto's ECR takes manifests, but no layers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import boto3

from image.ecr import EcrRepository, parse_repository
from image.engines import Engine
from image.publish import parse_pushes, parser, publish
from image.registry import get_manifest


@dataclass(frozen=True)
class Behind:
    """A repository in moto's ECR whose layers lie in a registry on loopback."""

    repository: EcrRepository
    registry: str

    def has(self, tag: str) -> bool:
        return self.repository.has(tag)

    def push(self, engine: Engine, image: str, tag: str) -> None:
        name = self.repository.name
        engine.push(image, f"{self.registry}/{name}:{tag}")
        text, digest = get_manifest(self.registry, name, tag)
        boto3.client("ecr").put_image(
            repositoryName=name,
            imageManifest=text,
            imageTag=tag,
            imageDigest=digest,
            imageManifestMediaType="application/vnd.oci.image.manifest.v1+json",
        )


def main(arguments: Sequence[str]) -> None:
    """Build and push as `image.publish` does."""
    given = parser().parse_args(arguments)
    repository = Behind(parse_repository(given.repository), os.environ["FIREBRICK_TEST_REGISTRY"])
    publish(given.model_dir, repository, parse_pushes(given.push), given.architecture, "podman", os.environ)


if __name__ == "__main__":
    main(sys.argv[1:])
