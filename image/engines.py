"""docker, podman or buildah: which of them works here, and what one calls each of them with."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from image.errors import CommandFailed, ImageMissing, NoEngine, UnknownEngine

ORDER = ("docker", "podman", "buildah")
PROBE_S = 60
LOOPBACK = ("127.0.0.1", "localhost")
EPOCH = 1767225600  # 2026-01-01: one time for all files of all images, so that no layer depends on when it was built


@dataclass(frozen=True)
class Build:
    """One build.

    Attributes:
        context: directory with a Dockerfile.
        target: stage; None for the last.
        tag: the image's name.
        arguments: build arguments.
        secrets: id → file; mounted while building, in no layer.
        cached: whether layers of earlier builds may be used.
    """

    context: Path
    target: str | None
    tag: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    cached: bool = True


@dataclass(frozen=True)
class Engine:
    """A program that builds, keeps and pushes images."""

    name: str

    def build(self, build: Build) -> None:
        """Build an image.

        Raises:
            CommandFailed: it can't be built; the engine has said why.
        """
        # An index is read by RUN through the host's network; the umask decides the modes of implied directories.
        environ = {**os.environ, "DOCKER_BUILDKIT": "1", "SOURCE_DATE_EPOCH": str(EPOCH)}
        command = self.build_command(build)
        code = subprocess.run(command, env=environ, umask=0o022).returncode
        if code:
            raise CommandFailed(f"{self.name} build of {build.tag}", code)

    def build_command(self, build: Build) -> list[str]:
        """The command line of `build`."""
        command = [self.name, "build", "--quiet", "--tag", build.tag]
        if self.name == "docker":
            command += ["--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "--provenance=false"]
        else:
            # chroot needs no privileges that a build machine may lack; buildah's own label would tell its version.
            command += ["--isolation", "chroot", "--layers", "--timestamp", str(EPOCH), "--identity-label=false"]
        command += [] if build.cached else ["--no-cache"]
        command += ["--target", build.target] if build.target else []
        for key, value in build.arguments.items():
            command += ["--build-arg", f"{key}={value}"]
        for key, path in build.secrets.items():
            command += ["--secret", f"id={key},src={path}"]
        return [*command, str(build.context)]

    def image_id(self, image: str) -> str:
        """The digest of an image's configuration, which names its layers.

        Raises:
            ImageMissing: there is no such image.
        """
        inspect = {"buildah": ["inspect", "--type", "image", "--format", "{{.FromImageID}}"]}
        words = inspect.get(self.name, ["image", "inspect", "--format", "{{.Id}}"])
        return self._inspect(words, image).removeprefix("sha256:")

    def has(self, image: str) -> bool:
        """Whether an image is in the storage."""
        try:
            return bool(self.image_id(image))
        except ImageMissing:
            return False

    def save_command(self, image: str) -> list[str]:
        """The command that writes an image's docker archive to stdout."""
        if self.name == "buildah":
            return ["buildah", "push", "--quiet", image, f"docker-archive:/dev/stdout:{image}"]
        form = ["--quiet", "--format", "docker-archive"] if self.name == "podman" else []
        return [self.name, "save", *form, image]

    def log_in(self, host: str, user: str, password: str) -> None:
        """Log in to a registry; the password goes through a pipe, so that no list of processes shows it.

        Raises:
            CommandFailed: it refuses.
        """
        words = ("login", "--username", user, "--password-stdin", host)
        done = subprocess.run([self.name, *words], input=password, capture_output=True, text=True)
        if done.returncode:
            raise CommandFailed(f"{self.name} login to {host}", done.returncode, done.stderr)

    def push(self, image: str, reference: str) -> None:
        """Push an image; a registry on loopback speaks plain HTTP.

        Raises:
            CommandFailed: it can't be pushed.
        """
        if self.name == "docker":
            self._call("tag", image, reference)
            self._call("push", "--quiet", reference)
        else:
            plain = ["--tls-verify=false"] if reference.startswith(LOOPBACK) else []
            self._call("push", "--quiet", *plain, image, f"docker://{reference}")

    def architecture(self, image: str) -> str:
        """The processors that an image is for, by Go's names: amd64, arm64.

        Raises:
            ImageMissing: there is no such image.
        """
        inspect = {"buildah": ["inspect", "--type", "image", "--format", "{{.OCIv1.Architecture}}"]}
        words = inspect.get(self.name, ["image", "inspect", "--format", "{{.Architecture}}"])
        return self._inspect(words, image)

    def remove(self, *images: str) -> None:
        """Forget names, one after another; what isn't there, or is in use, doesn't matter."""
        words = {"buildah": ["rmi"]}.get(self.name, ["image", "rm"])
        for image in images:
            subprocess.run([self.name, *words, image], capture_output=True)

    def _inspect(self, words: Sequence[str], image: str) -> str:
        done = subprocess.run([self.name, *words, image], capture_output=True, text=True)
        if done.returncode:
            raise ImageMissing(image, self.name)
        return done.stdout.strip()

    def _call(self, *words: str) -> None:
        done = subprocess.run([self.name, *words], capture_output=True, text=True)
        if done.returncode:
            raise CommandFailed(f"{self.name} {words[0]}", done.returncode, done.stderr)


def choose(asked: str = "", try_out: Callable[[str], str | None] | None = None) -> tuple[Engine, dict[str, str]]:
    """Choose the first that works.

    Args:
        asked: the only one that may be chosen; empty for any.
        try_out: why an engine can't be used, or None; the real trial by default.

    Returns:
        the engine, and why those before it don't work.

    Raises:
        UnknownEngine: no such engine.
        NoEngine: none works.
    """
    if asked and asked not in ORDER:
        raise UnknownEngine(asked, ORDER)
    reasons: dict[str, str] = {}
    for name in [asked] if asked else ORDER:
        reason = (try_out or obstacle)(name)
        if reason is None:
            return Engine(name), reasons
        reasons[name] = reason
    raise NoEngine(reasons)


def obstacle(name: str) -> str | None:
    """Try an engine out: None if it works, else why it doesn't."""
    if shutil.which(name) is None:
        return "not installed"
    words: Sequence[str] = ["--format", "{{.ServerVersion}}"] if name == "docker" else []
    try:
        done = subprocess.run([name, "info", *words], capture_output=True, text=True, timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        return f"`{name} info` gives no answer"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"`{name} info` fails"])[-1]
