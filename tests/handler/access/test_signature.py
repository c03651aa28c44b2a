"""Against botocore's signer."""

from __future__ import annotations

from http.client import HTTPMessage
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given
from hypothesis import strategies as st

from handler.access.signature import Credentials, sign

PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
NAMES = st.from_regex(r"x-[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(lambda n: n != "x-amz-date")
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1"])


class BotocoresSigner(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs all headers, as ours does."""

    def headers_to_sign(self, request: Any) -> HTTPMessage:
        headers = HTTPMessage()
        for name, value in request.headers.items():
            headers[name.lower()] = value
        return headers


@given(
    st.dictionaries(NAMES, VALUES, max_size=4),
    st.binary(max_size=100),
    st.builds(Credentials, PRINTABLE, PRINTABLE, st.none() | PRINTABLE),
    REGIONS,
    st.sampled_from(["secretsmanager", "sts", "lambda"]),
    st.integers(0, 4_000_000_000),
)
def test_it_is_what_botocore_writes(
    headers: dict[str, str], body: bytes, credentials: Credentials, region: str, service: str, at: int
) -> None:
    host = f"{service}.{region}.amazonaws.com"
    ours = sign({"host": host, **headers}, body, credentials, region, service, at)
    unsigned = {name: value for name, value in ours.items() if name != "authorization"}
    request = AWSRequest("POST", f"https://{host}/", headers=unsigned, data=body)
    request.context["timestamp"] = ours["x-amz-date"]
    key = credentials
    signer = BotocoresSigner(TheirCredentials(key.access_key, key.secret_key, key.session_token), service, region)
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    names = signer.signed_headers(signer.headers_to_sign(request))
    assert ours["authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signature}"
    )


def test_the_time_is_utc() -> None:
    assert sign({}, b"", Credentials("a", "b"), "r", "s", at=1_440_938_160)["x-amz-date"] == "20150830T123600Z"


def test_a_session_token_is_sent_and_signed() -> None:
    signed = sign({}, b"", Credentials("a", "b", "token"), "r", "s", at=0)
    assert signed["x-amz-security-token"] == "token"
    assert "SignedHeaders=x-amz-date;x-amz-security-token," in signed["authorization"]


def test_credentials_do_not_show_their_secrets() -> None:
    assert "geheim" not in repr(Credentials("a", "geheim", "geheim"))
