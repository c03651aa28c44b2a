"""`python -m image.invoke PROMPT`: ask a function URL, deployed or local, and stream the answer to the terminal."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from image.command import exit_code
from image.deploy.outputs import read_outputs
from image.errors import CallRefused, CallUnanswered, UrlInvalid
from image.secret import read_secret

if TYPE_CHECKING:
    import openai

LAMBDA_URL = re.compile(r"[a-z0-9]+\.lambda-url\.([a-z0-9-]+)\.on\.aws")
PATIENCE_S = 900  # the longest that Lambda lets a function run


@dataclass(frozen=True)
class Target:
    """What is called.

    Attributes:
        url: without `/v1`.
        api_key: for a URL without IAM; None to sign.
        region: for the signature.
    """

    url: str
    api_key: str | None
    region: str


def choose_target(url: str | None, environ: Mapping[str, str]) -> Target:
    """The URL that was given, or the deployed one.

    Raises:
        UrlInvalid: it is none.
        NotDeployed: none was given, and Terraform knows of none.
        AwsError: the API key can't be read.
    """
    api_key = environ.get("FIREBRICK_API_KEY")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    if url:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UrlInvalid(url)
        found = LAMBDA_URL.fullmatch(parts.hostname)
        return Target(_base(url), api_key, found[1] if found else region)
    outputs = read_outputs(environ)
    if api_key is None and outputs.api_key_secret is not None:
        api_key = read_secret(outputs.api_key_secret, outputs.region)
    return Target(_base(outputs.url), api_key, outputs.region)


def _base(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")


def client(target: Target) -> openai.OpenAI:
    """An official client that signs, where there is no API key.

    Raises:
        NoCredentials: there is nothing to sign with.
    """
    import openai

    if target.api_key:
        http = openai.DefaultHttpxClient(timeout=PATIENCE_S)
    else:
        from image.signing import credentials, signer

        auth = signer(credentials(local=_is_loopback(target.url)), target.region)
        http = openai.DefaultHttpxClient(auth=auth, timeout=PATIENCE_S)
    return openai.OpenAI(
        base_url=f"{target.url}/v1", api_key=target.api_key or "signed", http_client=http, max_retries=0
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ask(target: Target, prompt: str, model: str | None, max_tokens: int) -> None:
    """Stream one answer to stdout.

    Raises:
        CallRefused: the URL, or the function, says no.
        CallUnanswered: it says nothing, or breaks off.
    """
    import httpx2  # what the openai package is made on
    import openai

    caller = client(target)
    try:
        name = model or first_model(caller, target.url)
        stream = caller.chat.completions.create(
            model=name, messages=[{"role": "user", "content": prompt}], max_tokens=max_tokens, stream=True
        )
        for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
        print()
    except openai.APIStatusError as error:
        raise CallRefused(target.url, error.status_code, error.message, signed=target.api_key is None) from None
    except (openai.OpenAIError, httpx2.HTTPError) as error:
        raise CallUnanswered(target.url, str(error.__cause__ or error)) from None


def first_model(caller: openai.OpenAI, url: str) -> str:
    """The model that a server lists first.

    Raises:
        CallUnanswered: it lists none, so it is another kind of server.
    """
    answer = caller.get(
        "/models", cast_to=object
    )  # not models.list(), which takes it for granted that this is OpenAI's
    try:
        name: str = answer["data"][0]["id"]  # type: ignore[index]
    except (LookupError, TypeError):
        raise CallUnanswered(url, "/v1/models lists no model there; is that Firebrick's URL?") from None
    return name


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; the exit code is 0, or 2 if there was no answer."""
    parser = argparse.ArgumentParser("python -m image.invoke", description="Ask a function URL, and stream the answer.")
    parser.add_argument("prompt", nargs="?", default="What is a cold start?", help="default: %(default)s")
    parser.add_argument("--url", help="of the function; default: what `terraform output url` says")
    parser.add_argument("--model", help="default: the first of /v1/models")
    parser.add_argument("--max-tokens", type=int, default=256, help="default: %(default)s")
    given = parser.parse_args(arguments)
    return exit_code(lambda: ask(choose_target(given.url, environ), given.prompt, given.model, given.max_tokens))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
