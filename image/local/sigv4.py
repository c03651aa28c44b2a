"""Checks an AWS Signature Version 4 with botocore's own signer."""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from http.client import HTTPMessage
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from image.local.refusals import Forbidden
from image.local.settings import Settings
from image.local.url_event import HttpRequest

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, ?"
    r"SignedHeaders=([^, ]+), ?Signature=([0-9a-f]{64})"
)
STAMP = re.compile(r"\d{8}T\d{6}Z")
SERVICE = "lambda"
SKEW_S = 300
UNSIGNED = "UNSIGNED-PAYLOAD"


class _Signer(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs the headers that the client signed, no others."""

    def __init__(self, settings: Settings, signed: list[str]) -> None:
        super().__init__(Credentials(settings.access_key, settings.secret_key), SERVICE, settings.region)
        self._signed = signed

    def headers_to_sign(self, request: Any) -> HTTPMessage:
        headers = HTTPMessage()
        for name in self._signed:
            headers[name] = request.headers[name]
        return headers


def check_signature(request: HttpRequest, settings: Settings, now: float) -> None:
    """Let a request pass that is signed with the settings' keys.

    Args:
        request: As it came.
        settings: Region and keys.
        now: Seconds since the epoch.

    Raises:
        Forbidden: It isn't signed, or otherwise.
    """
    found = AUTHORIZATION.fullmatch(request.header("authorization") or "")
    if not found:
        raise Forbidden("no Authorization header of AWS4-HMAC-SHA256")
    access_key, day, region, service, names, signature = found.groups()
    signed = names.split(";")
    stamp = request.header("x-amz-date") or ""
    if (region, service) != (settings.region, SERVICE):
        raise Forbidden(f"signed for {service} in {region}, not for {SERVICE} in {settings.region}")
    if not STAMP.fullmatch(stamp) or stamp[:8] != day or not _recent(stamp, now):
        raise Forbidden(f"X-Amz-Date {stamp!r} is missing, too old or not of the day that was signed")
    if "host" not in signed or any(request.header(name) is None for name in signed):
        raise Forbidden(f"the signed headers {names!r} are not all there, or host is not among them")
    if access_key != settings.access_key:
        raise Forbidden(f"unknown access key {access_key!r}")
    _check_body(request)
    if not hmac.compare_digest(_signature(request, settings, signed, stamp), signature):
        raise Forbidden("the signature does not match")


def _recent(stamp: str, now: float) -> bool:
    try:
        return abs(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - now) <= SKEW_S
    except ValueError:
        return False


def _check_body(request: HttpRequest) -> None:
    stated = request.header("x-amz-content-sha256")
    if stated not in (None, UNSIGNED, hashlib.sha256(request.body).hexdigest()):
        raise Forbidden("X-Amz-Content-Sha256 is not the body's")


def _signature(request: HttpRequest, settings: Settings, signed: list[str], stamp: str) -> str:
    url = f"http://{request.header('host')}{request.path}" + (f"?{request.query}" if request.query else "")
    named = {name: request.header(name) for name, _ in request.headers}
    again = AWSRequest(method=request.method, url=url, headers=named, data=request.body)
    again.context["timestamp"] = stamp
    signer = _Signer(settings, signed)
    text = signer.string_to_sign(again, signer.canonical_request(again))
    return str(signer.signature(text, again))
