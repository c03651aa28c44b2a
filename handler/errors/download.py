"""What keeps a model in S3 from being loaded into memory."""

from __future__ import annotations

from handler.errors.base import StartupError


class DownloadError(StartupError):
    """The model that FIREBRICK_MODEL_DIR names can't be had from S3."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))  # It quotes what others wrote, and stays one line.


class DownloadUnsigned(DownloadError):
    """There is nothing to sign a call with."""

    def __init__(self, uri: object, reason: str) -> None:
        super().__init__(f"no AWS credentials for {uri}: {reason}; Lambda sets them for the role")


class BucketMissing(DownloadError):
    """There is no such bucket."""

    def __init__(self, uri: object, bucket: str, reason: str) -> None:
        super().__init__(f"{uri} can't be loaded: there is no bucket {bucket} ({reason}); name one that is there")


class DownloadForbidden(DownloadError):
    """The role may not read it."""

    def __init__(self, uri: object, reason: str) -> None:
        super().__init__(
            f"{uri} may not be read ({reason}): the role needs s3:GetObject on it, s3:ListBucket on the bucket to tell "
            "what is missing from what is forbidden, and kms:Decrypt if it is encrypted with a key of your own"
        )


class BucketElsewhere(DownloadError):
    """The bucket lies in another region."""

    def __init__(self, uri: object, region: str, there: str) -> None:
        super().__init__(f"{uri} is in {there}, not in {region}: keep the model in a bucket of the function's region")


class DownloadRefused(DownloadError):
    """S3 answers with an error, or in a way, that no other class is for."""

    def __init__(self, uri: object, reason: str) -> None:
        super().__init__(f"{uri} was refused by S3 ({reason}): check the name, or set AWS_ENDPOINT_URL_S3")


class DownloadUnreachable(DownloadError):
    """S3 doesn't answer, or breaks off again and again."""

    def __init__(self, uri: object, host: str, reason: str) -> None:
        super().__init__(
            f"{uri} can't be read from {host} ({reason}): a function in a VPC needs a gateway endpoint for S3, or a "
            "NAT gateway"
        )


class ObjectReplaced(DownloadError):
    """The object was replaced while it was read."""

    def __init__(self, uri: object) -> None:
        super().__init__(
            f"{uri} was replaced while it was read; start again, and put each version of a model under a prefix of its "
            "own"
        )


class ModelTooLarge(DownloadError):
    """It doesn't fit the memory."""

    def __init__(self, uri: object, needed: int, rest: int, limit: int, what: str) -> None:
        super().__init__(
            f"{uri} doesn't fit the memory: it takes {needed / 2**20:,.0f} MiB and the process {rest / 2**20:,.0f} "
            f"MiB, and there are {limit / 2**20:,.0f} MiB ({what}); give the function more, or bake the model into "
            "the image"
        )


class MemoryFilesUnavailable(DownloadError):
    """The system has no files in memory, or gives none."""

    def __init__(self, uri: object, reason: object) -> None:
        super().__init__(f"{uri} can't be kept in memory: memfd_create gives no file ({reason}); it takes Linux 3.17")
