"""Calls of a deployed function, through the Invoke API or its URL: streamed, timed, with what Lambda says of them."""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATH = "/v1/chat/completions"
PRELUDE_END = (
    b"\0" * 8
)  # https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
CHANGED = "FIREBRICK_BENCH_STARTED"  # a variable that nothing reads


class Failed(Exception):
    """Nothing can be measured; the text says why."""


@dataclass(frozen=True)
class Report:
    """A REPORT line."""

    billed_ms: float
    memory_mb: int
    max_memory_used_mb: int
    init_ms: float | None


@dataclass(frozen=True)
class Call:
    """What one answer took.

    Attributes:
        first_token_ms: to the first piece of text, or to the end of an answer without any.
        init_ms: of the environment, if this was its first answer.
        failed: why there is no answer.
    """

    first_token_ms: float = 0.0
    total_ms: float = 0.0
    tokens_per_second: float | None = None
    estimated_cost_usd: float | None = None
    init_ms: float | None = None
    report: Report | None = None
    failed: str | None = None


def read_report(log: str) -> Report | None:
    """Find the REPORT line in a log's tail; as text, or as JSON (`platform.report`)."""
    found = re.search(
        r"REPORT RequestId: .*?Billed Duration: ([\d.]+) ms\s+Memory Size: (\d+) MB\s+Max Memory Used: (\d+) MB"
        r"(?:\s+Init Duration: ([\d.]+) ms)?",
        log,
    )
    if found:
        return Report(float(found[1]), int(found[2]), int(found[3]), float(found[4]) if found[4] else None)
    for line in log.splitlines():
        if '"platform.report"' in line:
            try:
                metrics = json.loads(line)["record"]["metrics"]
                init = metrics.get("initDurationMs")
                used = metrics["maxMemoryUsedMB"]
                return Report(metrics["billedDurationMs"], metrics["memorySizeMB"], used, init)
            except (ValueError, LookupError, TypeError):
                return None
    return None


def read_stream(lines: Iterable[bytes], started: float) -> tuple[float, float, Mapping[str, Any]]:
    """Read an answer's events; gives the milliseconds to the first text and to the end, and the timings."""
    first = 0.0
    timings: Mapping[str, Any] = {}
    for line in lines:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise ValueError(str(chunk["error"].get("message")))
        timings = chunk.get("timings") or timings
        if not first and any(choice.get("delta", {}).get("content") for choice in chunk.get("choices", [])):
            first = time.perf_counter()
    ended = time.perf_counter()
    return ((first or ended) - started) * 1e3, (ended - started) * 1e3, timings


def made(first_ms: float, total_ms: float, timings: Mapping[str, Any], report: Report | None) -> Call:
    """Put a call together."""
    init = report.init_ms if report else timings.get("init_ms")
    speed, cost = timings.get("decode_tokens_per_second"), timings.get("estimated_cost_usd")
    return Call(first_ms, total_ms, speed, cost, init, report)


def body_of(prompt: str, model: str, tokens: int) -> str:
    """The request; the usage and the timings come with the last chunk."""
    messages = [{"role": "user", "content": prompt}]
    options = {"stream_options": {"include_usage": True}, "temperature": 0, "max_tokens": tokens}
    return json.dumps({"model": model, "messages": messages, "stream": True, **options})


def first_model(answer: bytes) -> str:
    """The model that /v1/models lists first.

    Raises:
        Failed: it lists none.
    """
    try:
        name: str = json.loads(answer)["data"][0]["id"]
    except (ValueError, LookupError, TypeError):
        raise Failed(f"/v1/models lists no model there: {answer[:200]!r}") from None
    return name


def client(args: argparse.Namespace) -> Any:
    """botocore's for Lambda, without retries: each would be measured as one slow call."""
    from botocore.config import Config
    from botocore.session import Session

    session = Session()
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"} if args.endpoint else {}
    config = Config(read_timeout=args.timeout, retries={"total_max_attempts": 1}, max_pool_connections=256)
    where = {"region_name": args.region, "endpoint_url": args.endpoint, "config": config}
    return session.create_client("lambda", **where, **({} if session.get_credentials() else keys))


class ByInvoke:
    """Calls through InvokeWithResponseStream."""

    def __init__(self, args: argparse.Namespace, environ: Mapping[str, str]) -> None:
        self._args = args
        self._client = client(args)
        self._key = environ.get("FIREBRICK_API_KEY")
        self._model = args.model or self._first_model()

    def _first_model(self) -> str:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return first_model(b"".join(_answer(self._events("GET", "/v1/models", "", []))))
        except (BotoCoreError, ClientError, ValueError) as error:
            raise Failed(f"{self._args.function} doesn't answer: {error}") from None

    def call(self, prompt: str) -> Call:
        """Ask once."""
        from botocore.exceptions import BotoCoreError, ClientError

        tail: list[str] = []
        started = time.perf_counter()
        try:
            body = body_of(prompt, self._model, self._args.tokens)
            stream = self._events("POST", PATH, body, tail)
            first_ms, total_ms, timings = read_stream(_lines(_answer(stream)), started)
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            return Call(failed="throttled" if code == "TooManyRequestsException" else f"{code}: {error}")
        except (BotoCoreError, ValueError) as error:
            return Call(failed=f"{type(error).__name__}: {error}")
        return made(first_ms, total_ms, timings, read_report("".join(tail)))

    def _events(self, method: str, path: str, body: str, tail: list[str]) -> Iterator[bytes]:
        event = json.dumps(url_event(method, path, body, self._key)).encode()
        name, _, alias = self._args.function.partition(":")
        where = {"FunctionName": name, **({"Qualifier": alias} if alias else {})}
        answer = self._client.invoke_with_response_stream(**where, Payload=event, LogType="Tail")
        for item in answer["EventStream"]:
            if chunk := item.get("PayloadChunk"):
                yield chunk["Payload"]
            if done := item.get("InvokeComplete"):
                tail.append(base64.b64decode(done.get("LogResult", "")).decode(errors="replace"))
                if done.get("ErrorCode"):
                    raise ValueError(f"{done['ErrorCode']}: {done.get('ErrorDetails')}")


def url_event(method: str, path: str, body: str, api_key: str | None) -> dict[str, Any]:
    """The event of a function URL; https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html."""
    key = {"x-api-key": api_key} if api_key else {}
    http_part = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "bench"}
    context = {"http": http_part, "domainName": "bench", "requestId": "bench", "stage": "$default", "timeEpoch": 0}
    headers = {"content-type": "application/json", "host": "bench", **key}
    event = {"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers}
    return {**event, "requestContext": context, "body": body, "isBase64Encoded": False}


def _answer(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Take the prelude, with status and headers, from the front of a streamed answer.

    Raises:
        ValueError: the status isn't 200.
    """
    begun = b""
    for chunk in chunks:
        begun += chunk
        if PRELUDE_END in begun:
            break
    prelude, _, rest = begun.partition(PRELUDE_END)
    status = json.loads(prelude).get("statusCode") if rest or PRELUDE_END in begun else None
    if status != 200:
        raise ValueError(f"status {status}: {(rest + b''.join(chunks))[:300].decode(errors='replace')}")
    yield rest
    yield from chunks


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    yield rest


class ByUrl:
    """Calls of a function URL."""

    def __init__(self, args: argparse.Namespace, environ: Mapping[str, str]) -> None:
        self._args = args
        self._url = args.url.rstrip("/").removesuffix("/v1")
        self._key = environ.get("FIREBRICK_API_KEY")
        self._model = args.model or self._first_model()

    def _first_model(self) -> str:
        try:
            connection, response = self._send("GET", "/v1/models", "")
            try:
                content = response.read(2**20)
                if response.status != 200:
                    raise Failed(f"{self._url} answers with status {response.status}: {content[:300]!r}")
                return first_model(content)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{self._url} doesn't answer: {type(error).__name__}: {error}") from None

    def call(self, prompt: str) -> Call:
        """Ask once, on a connection of its own."""
        body = body_of(prompt, self._model, self._args.tokens)
        started = time.perf_counter()
        try:
            connection, response = self._send("POST", PATH, body)
            try:
                if response.status == 429:
                    return Call(failed="throttled")
                if response.status != 200:
                    return Call(failed=f"status {response.status}: {response.read()[:300].decode(errors='replace')}")
                return made(*read_stream(response, started), None)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Call(failed=f"{type(error).__name__}: {error}")

    def _send(self, method: str, path: str, body: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(self._url)
        assert parts.hostname is not None
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=self._args.timeout)
        connection.request(method, parts.path + path, body.encode(), self._headers(method, path, body))
        return connection, connection.getresponse()

    def _headers(self, method: str, path: str, body: str) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if self._key:
            return {**headers, "authorization": f"Bearer {self._key}"}
        return {**headers, **signed(method, self._url + path, body, self._args.region)}


def signed(method: str, url: str, body: str, region: str) -> dict[str, str]:
    """AWS's signature for a function URL, by the credentials that AWS's tools use here, or the local Lambda's.

    Raises:
        Failed: there is nothing to sign with.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from botocore.session import Session

    host = urlsplit(url).hostname
    found = Session().get_credentials() or (Credentials("test", "test") if host in ("127.0.0.1", "localhost") else None)
    if found is None:
        raise Failed("no AWS credentials to sign with, and no FIREBRICK_API_KEY")
    request = AWSRequest(method, url, data=body.encode(), headers={"host": urlsplit(url).netloc})
    SigV4Auth(found, "lambda", region).add_auth(request)
    return {name: value for name, value in request.headers.items() if name.lower() != "host"}


@contextmanager
def new_environments(args: argparse.Namespace) -> Iterator[None]:
    """Change a variable of $LATEST, so that its next request needs a new environment, and put all back after it.

    Raises:
        Failed: the function can't be changed.
    """
    from botocore.exceptions import BotoCoreError, ClientError, WaiterError

    lambdas, name = client(args), args.function

    def put(variables: Mapping[str, str]) -> None:
        lambdas.update_function_configuration(FunctionName=name, Environment={"Variables": dict(variables)})
        lambdas.get_waiter("function_updated_v2").wait(FunctionName=name)

    try:
        before = lambdas.get_function_configuration(FunctionName=name).get("Environment", {}).get("Variables", {})
        put({**before, CHANGED: str(time.time_ns())})
        try:
            yield
        finally:
            put(before)
    except (BotoCoreError, ClientError, WaiterError) as error:
        raise Failed(f"{name} can't be changed: {error}") from None
