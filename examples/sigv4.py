"""OpenAI's client with signed requests, for a function URL with AWS_IAM: `pip install openai boto3`.

OPENAI_BASE_URL=https://ID.lambda-url.eu-central-1.on.aws/v1 AWS_REGION=eu-central-1 python examples/sigv4.py
"""

from __future__ import annotations

import os
import sys
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from openai import DefaultHttpxClient, OpenAI

credentials: Any = boto3.Session().get_credentials()


def sign(request: Any) -> Any:
    """Sign a request; the key that the client would send gives way to the signature."""
    signed = AWSRequest(
        request.method, str(request.url), data=request.content, headers={"host": request.headers["host"]}
    )
    SigV4Auth(credentials, "lambda", os.environ["AWS_REGION"]).add_auth(signed)
    request.headers.update(dict(signed.headers))
    return request


client = OpenAI(api_key="none", http_client=DefaultHttpxClient(auth=sign))
stream = client.chat.completions.create(
    model=os.environ.get("MODEL", "firebrick-demo"),
    messages=[{"role": "user", "content": " ".join(sys.argv[1:]) or "What is Firebrick?"}],
    max_tokens=200,
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", flush=True)
print()
