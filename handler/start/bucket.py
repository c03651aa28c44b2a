"""Objects of S3, read in ranges with the standard library: the stream function's image has no botocore.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import quote

from handler.access.credentials import find_credentials
from handler.access.endpoint import given_endpoint
from handler.access.signature import Credentials, sign
from handler.errors import (
    ArtefactDamaged,
    ArtefactMissing,
    BucketElsewhere,
    BucketMissing,
    CredentialsUnavailable,
    DownloadForbidden,
    DownloadRefused,
    DownloadUnreachable,
    DownloadUnsigned,
    ObjectReplaced,
    SettingsError,
)
from handler.settings import S3Prefix

if TYPE_CHECKING:
    import ssl

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 10.0  # without a byte
ATTEMPTS = 6  # one after another that bring nothing
PAUSE_S = 0.05  # before the second, doubled each time
AT_ONCE = 2**20  # bytes of one read; what came before a connection was cut is kept in such steps
NO_BODY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # sha256 of nothing
LARGEST_ERROR = 2**16  # bytes
BUSY = (408, 429, 500, 502, 503, 504)
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html: among those with status 400
BUSY_CODES = ("RequestTimeout",)
FORBIDDEN = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "KMS.DisabledException")


@dataclass(frozen=True)
class Bucket:
    """Where objects are, and who asks for them.

    Attributes:
        at: Bucket and prefix.
        host: Of the endpoint.
        port: None for the scheme's own.
        root: What paths begin with: the bucket, unless the host's name has it.
    """

    at: S3Prefix
    region: str
    credentials: Credentials
    tls: ssl.SSLContext | None
    host: str
    port: int | None
    root: str


def find_bucket(at: S3Prefix, environ: Mapping[str, str]) -> Bucket:
    """Tell where a bucket is.

    Args:
        at: Bucket and prefix.
        environ: AWS_REGION and credentials; AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL for another endpoint than AWS's.

    Raises:
        SettingsError: There is no region, or the endpoint is no URL.
        DownloadUnsigned: There is nothing to sign with.
    """
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    if not re.fullmatch(r"[a-z0-9-]{1,64}", region, re.ASCII):
        raise SettingsError("AWS_REGION", region, f"the region of {at}, as Lambda sets it")
    try:
        credentials = find_credentials(environ)
    except CredentialsUnavailable as error:
        raise DownloadUnsigned(at, error.reason) from None
    if (endpoint := given_endpoint("S3", environ)) is not None:
        context = _context() if endpoint.tls else None
        return Bucket(at, region, credentials, context, endpoint.host, endpoint.port, f"/{at.bucket}")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    if "." in at.bucket:  # The certificate is for one label before S3's own name.
        return Bucket(at, region, credentials, _context(), f"s3.{region}.{suffix}", None, f"/{at.bucket}")
    return Bucket(at, region, credentials, _context(), f"{at.bucket}.s3.{region}.{suffix}", None, "")


def _context() -> ssl.SSLContext:
    import ssl  # and once for all connections: reading the authorities takes 20 ms

    return ssl.create_default_context()


class Pinned:
    """One object, and which state of it is read.

    Args:
        name: Behind the prefix.
        nbytes: Its size, if that is known.

    Attributes:
        etag: Of the first answer; all others have to have it too.
        modified: Unix seconds, of the same.
    """

    def __init__(self, name: str, nbytes: int | None = None) -> None:
        self.name = name
        self.nbytes = nbytes
        self.etag: str | None = None
        self.modified = 0.0
        self._lock = threading.Lock()

    def agrees(self, headers: HTTPMessage) -> bool:
        """Whether an answer is of the same state as the first one, which this may be."""
        etag = headers.get("etag", "")
        with self._lock:  # The first ranges of an object are asked for side by side.
            if self.etag is None:
                self.etag, self.modified = etag, _seconds(headers.get("last-modified", ""))
            return self.etag == etag


class Reader:
    """A connection that is kept from one range to the next; for one thread.

    Args:
        bucket: From `find_bucket`.

    Attributes:
        requests: How many were sent.
        retries: How many of them brought nothing, or not all.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.requests = 0
        self.retries = 0
        self._connection: HTTPConnection | None = None

    def whole(self, pinned: Pinned, most: int) -> bytes:
        """Read a small object.

        Args:
            pinned: Which.
            most: Bytes that it may have.

        Raises:
            DownloadError: It can't be had.
            ArtefactMissing: It isn't there.
            ArtefactDamaged: It is larger.
        """
        content = bytearray(most + 1)
        size = self._read(pinned, None, memoryview(content))
        if size > most:
            self.close()
            raise ArtefactDamaged(f"{self._uri(pinned)} has more than {most} bytes; export the model again")
        return bytes(content[:size])

    def fill(self, pinned: Pinned, start: int, into: memoryview) -> None:
        """Read as many bytes of an object from `start` on as there is room for.

        Raises:
            DownloadError: It can't be had, or isn't what was read before.
            ArtefactMissing: It isn't there.
            ArtefactDamaged: Its size isn't the expected one.
        """
        self._read(pinned, start, into)

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _uri(self, pinned: Pinned) -> str:
        return f"{self.bucket.at}/{pinned.name}"

    def _read(self, pinned: Pinned, start: int | None, into: memoryview) -> int:
        """Read an object, or from `start` on, where a range goes on where it broke off; gives the bytes read."""
        done, failed, reason = 0, 0, ""
        while failed < ATTEMPTS:
            if failed:
                time.sleep(random.uniform(0.5, 1) * PAUSE_S * 2 ** (failed - 1))
            got, reason = self._attempt(pinned, None if start is None else start + done, into[done:])
            if not reason:
                return done + got
            self.retries += 1
            self.close()
            failed += 1
            if start is not None and got:
                done, failed = done + got, 1
        raise DownloadUnreachable(self._uri(pinned), self.bucket.host, reason)

    def _attempt(self, pinned: Pinned, start: int | None, into: memoryview) -> tuple[int, str]:
        """Send one request; gives the bytes that came, and why they aren't all."""
        got = 0
        self.requests += 1
        try:
            response = self._ask(pinned, start, len(into))
            if response.status not in (200, 206):
                return 0, self._refused(pinned, response)
            self._check(pinned, response, start, len(into))
            while got < len(into) and (count := response.readinto(into[got : got + AT_ONCE])):
                got += count
        except (OSError, HTTPException) as error:
            return got, f"{type(error).__name__}: {error}"
        whole = not response.length if start is None else got == len(into)
        return got, "" if whole or got == len(into) else f"it broke off after {got} bytes"

    def _ask(self, pinned: Pinned, start: int | None, wanted: int) -> HTTPResponse:
        bucket = self.bucket
        path = f"{bucket.root}/{quote(bucket.at.key(pinned.name), safe='/~')}"
        headers = {
            "host": bucket.host if bucket.port is None else f"{bucket.host}:{bucket.port}",
            "x-amz-content-sha256": NO_BODY,
        }
        if start is not None:
            headers["range"] = f"bytes={start}-{start + wanted - 1}"
        if pinned.etag:
            headers["if-match"] = pinned.etag
        signed = sign(headers, b"", bucket.credentials, bucket.region, "s3", time.time(), ("GET", path))
        connection = self._connected()
        connection.request("GET", path, headers=signed)
        return connection.getresponse()

    def _connected(self) -> HTTPConnection:
        if self._connection is None:
            bucket, timeout = self.bucket, CONNECT_TIMEOUT_S
            if bucket.tls is None:
                made = HTTPConnection(bucket.host, bucket.port, timeout=timeout)
            else:
                made = HTTPSConnection(bucket.host, bucket.port, timeout=timeout, context=bucket.tls)
            made.connect()
            made.sock.settimeout(READ_TIMEOUT_S)
            self._connection = made
        return self._connection

    def _check(self, pinned: Pinned, response: HTTPResponse, start: int | None, wanted: int) -> None:
        """Hold an answer's head against what was asked for."""
        uri = self._uri(pinned)
        if not pinned.agrees(response.headers):
            self.close()
            raise ObjectReplaced(uri)
        if start is None:
            return
        told = response.headers.get("content-range", "")
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", told)
        size = int(found[3]) if found else response.length  # whoever knows no ranges sends all of it
        if size != pinned.nbytes:
            self.close()
            raise ArtefactDamaged(f"{uri} has {size} bytes instead of {pinned.nbytes}; export the model again")
        if (int(found[1]) if found else 0, response.length) != (start, wanted):
            self.close()
            raise DownloadRefused(uri, f"it sends {told or 'all bytes'} for bytes {start}-{start + wanted - 1}")

    def _refused(self, pinned: Pinned, response: HTTPResponse) -> str:
        """Tell why another attempt may help; if none will, raise what is wrong."""
        uri, at, body = self._uri(pinned), self.bucket.at, response.read(LARGEST_ERROR).decode(errors="replace")
        code, text = _member(body, "Code"), _member(body, "Message")
        reason = f"status {response.status} {code}: {text or 'no reason given'}"[:500]
        if response.status in BUSY or code in BUSY_CODES:
            return reason
        self.close()
        there = response.headers.get("x-amz-bucket-region") or _member(body, "Region")
        if there and there != self.bucket.region:
            raise BucketElsewhere(at, self.bucket.region, there)
        if response.status == 412:
            raise ObjectReplaced(uri)
        if response.status == 416:
            raise ArtefactDamaged(f"{uri} has fewer bytes than {pinned.nbytes}; export the model again")
        if code == "NoSuchBucket":
            raise BucketMissing(at, at.bucket, reason)
        if response.status == 404:
            raise ArtefactMissing(f"{uri} is missing: {at} is no whole artefact; copy all of its files there")
        if response.status in (401, 403) or code in FORBIDDEN:
            raise DownloadForbidden(uri, reason)
        raise DownloadRefused(uri, reason)


def _member(body: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", body)
    return found[1] if found else ""


def _seconds(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return 0.0
