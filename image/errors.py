"""What can go wrong while an image is made: one cause per class, one line on stderr, exit code 2."""

from __future__ import annotations

from typing import ClassVar


class ImageError(Exception):
    """The root of all of them."""

    exit_code: ClassVar[int] = 2


class NoEngine(ImageError):
    """None of docker, podman and buildah works here."""

    def __init__(self, reasons: dict[str, str]) -> None:
        tried = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        super().__init__(f"nothing here can build an image ({tried}); on Debian: apt-get install buildah podman runc")


class UnknownEngine(ImageError):
    """ENGINE names something else."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"ENGINE={name} is not known: expected one of {', '.join(known)}")


class ToolMissing(ImageError):
    """A program isn't installed."""

    def __init__(self, program: str, what: str, remedy: str) -> None:
        super().__init__(f"{program} is missing, which {what}: {remedy}")


class CommandFailed(ImageError):
    """A program that was called ended with an error; what it said stands above."""

    def __init__(self, what: str, code: int, said: str = "") -> None:
        lines = said.strip().splitlines()
        super().__init__(f"{what} failed with exit code {code}{': ' + lines[-1] if lines else ''}")


class NotRoot(ImageError):
    """Something that only root may do here."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} has to run as root; use sudo")


class KernelsMissing(ImageError):
    """The artefact asks for native kernels, and their library isn't built."""

    def __init__(self, artefact: object, library: object) -> None:
        super().__init__(
            f"{artefact} asks for native kernels, and {library} is missing: build it with `make setup` where there is "
            f"cargo, or convert the artefact with `python -m model_export.convert {artefact} --kernels stock`"
        )


class ImageMissing(ImageError):
    """An image that was asked for isn't in the engine's storage."""

    def __init__(self, image: str, engine: str) -> None:
        super().__init__(f"{engine} has no image {image}; build it with `make image`")


class ImageUnreadable(ImageError):
    """What the engine saved isn't the archive that was expected."""


class TooLarge(ImageError):
    """The image is beyond Lambda's limit."""

    def __init__(self, image: str, size: int, limit: int) -> None:
        super().__init__(f"{image} has {size:,} bytes, Lambda takes {limit:,} at most; bake a smaller model")


class NotReproducible(ImageError):
    """Two builds of the same differ."""

    def __init__(self, target: str, first: str, second: str) -> None:
        super().__init__(f"{target} was built twice with two outcomes: {first} and {second}")


class TooMuchPushed(ImageError):
    """A changed line cost more than the code layer."""

    def __init__(self, target: str, pushed: int, limit: int) -> None:
        super().__init__(f"{target}: a changed line pushed {pushed:,} bytes, more than the code layer's {limit:,}")


class RegistryFailed(ImageError):
    """The registry on loopback didn't start."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"docker-registry didn't start: {reason}")


class WrongArchitecture(ImageError):
    """The image is for other processors than the function's."""

    def __init__(self, image: str, found: str, wanted: str) -> None:
        super().__init__(
            f"{image} was built for {found}, the function has {wanted}: build on such a machine, or name images that "
            "are there already in image_uri"
        )


class RepositoryInvalid(ImageError):
    """What should name a repository in ECR doesn't."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url!r} names no repository in ECR: expected ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME, as `terraform "
            "output` shows it"
        )


class PushInvalid(ImageError):
    """--push has no target and tag."""

    def __init__(self, text: str, targets: tuple[str, ...]) -> None:
        super().__init__(f"--push {text!r} is not valid: expected TARGET:TAG, with one of {', '.join(targets)}")


# ---------------------------------------------------------------- AWS


class AwsError(ImageError):
    """Something between us and AWS."""


class NoCredentials(AwsError):
    """Nothing says who is calling."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"no AWS credentials that work ({reason.rstrip('.')}): run `aws configure` or `aws sso login`, or set "
            "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


class NoRegion(AwsError):
    """Nothing says where."""

    def __init__(self) -> None:
        super().__init__("no AWS region: set AWS_REGION, or region in terraform/terraform.tfvars or the profile")


class AwsRefused(AwsError):
    """A service said no."""

    def __init__(self, service: str, what: str, code: str, message: str) -> None:
        super().__init__(f"{service} refused to {what}: {code}{': ' + message if message else ''}")


class AwsUnreachable(AwsError):
    """A service gave no answer."""

    def __init__(self, service: str, what: str, reason: str) -> None:
        super().__init__(f"{service} gave no answer when asked to {what}: {reason}; check region and network")


# ---------------------------------------------------------------- a deployment


class NotDeployed(ImageError):
    """Terraform knows no function URL here."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"nothing is deployed from this clone ({reason}): run `make deploy`, or give a URL")


class UrlInvalid(ImageError):
    """What should be a URL isn't."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is no URL: expected https://… as `terraform output url` shows it")


class CallRefused(ImageError):
    """A function URL answered with an error."""

    def __init__(self, url: str, status: int, message: str, signed: bool) -> None:
        remedy = ""
        if status == 403 and signed:
            remedy = "; the caller needs the policy in `terraform output caller_policy`, and the clock must be right"
        elif status in (401, 403):
            remedy = "; `terraform output api_key_command` reads the key"
        elif status == 429:
            remedy = "; all environments are busy: try again, or raise reserved_concurrency"
        elif status == 502:
            remedy = "; the function failed: its log group says why"
        super().__init__(f"{url} answered {status}: {message}{remedy}")


class CallUnanswered(ImageError):
    """A function URL gave no whole answer."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} gave no answer: {reason}")


class DeploymentFailed(ImageError):
    """Terraform failed; its own words stand above."""

    def __init__(self, action: str, advice: list[str]) -> None:
        told = "; ".join(advice) or "what it says stands above"
        super().__init__(f"terraform {action} failed: {told}")


class CheckFailed(ImageError):
    """Something is wrong with what is deployed; the tool's own words stand above."""

    def __init__(self, what: str, code: int, where: str = "terraform/") -> None:
        super().__init__(f"{where}: {what} failed with exit code {code}; what it said stands above")
