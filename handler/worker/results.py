"""A job's result: as JSON, and kept in S3 under its job's key, the first one for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from handler.api.chat import tool_call
from handler.api.events import json_bytes
from handler.errors import ResultsUnavailable
from handler.generation import Generation
from handler.text.deltas import Delta
from handler.worker.clients import Setting, make_client

if TYPE_CHECKING:
    from botocore.client import BaseClient

Result = Mapping[str, Any]
PREFIX, SENT = "results/", "sent/"
MISSING, FORBIDDEN, CONFLICT, EXISTS = "404", "403", "ConditionalRequestConflict", "PreconditionFailed"


def result_of(generation: Generation, choices: Sequence[Delta]) -> Result:
    """Write down an answer that has come to its end.

    Args:
        generation: Of the answer.
        choices: All deltas of each, joined.
    """
    if choices[0].embedding is not None:
        return {
            **generation.envelope.members(),
            **generation.answer.whole(choices),
            "timings": generation.meter.timings(),
        }
    written = [_choice(generation, delta) for delta in choices]
    several = {"choices": [{"index": index, **choice} for index, choice in enumerate(written)]}
    return {
        **generation.envelope.members(),
        **(several if len(generation.tasks) > 1 else written[0]),
        "usage": generation.meter.usage(),
        "timings": generation.meter.timings(),
    }


def _choice(generation: Generation, delta: Delta) -> dict[str, Any]:
    logprobs = generation.answer.logprobs(delta.tokens)
    return {
        "text": delta.text,
        **({"reasoning_content": delta.reasoning} if delta.reasoning else {}),
        **({"tool_calls": [tool_call(call) for call in delta.calls]} if delta.calls else {}),
        "finish_reason": delta.finish_reason,
        **({"logprobs": logprobs} if logprobs else {}),
    }


def said(result: Result) -> tuple[Mapping[str, Any], ...]:
    """Return the choices of a result: one has its members in the result itself."""
    return tuple(result["choices"]) if "choices" in result else (result,)


def cut_off(result: Result) -> bool:
    """Whether the deadline ended it: more time would have given more text."""
    return "stopped_by" in result["timings"]


class Results(Protocol):
    """A place for results."""

    def has(self, key: str) -> bool:
        """Whether there is a result of that key."""
        ...

    def read(self, key: str) -> Result | None:
        """Return the result of that key, if there is one."""
        ...

    def keep(self, key: str, result: Result) -> bool:
        """Keep a result unless there is one already; returns whether it is this one that is kept."""
        ...


class Bucket:
    """Results as `results/KEY.json` in an S3 bucket, and marks as `sent/DESTINATION/KEY`.

    Args:
        name: The bucket's.
        client: botocore's, for S3.
        prefix: What the objects' names begin with.
    """

    def __init__(self, name: str, client: BaseClient, prefix: str = PREFIX) -> None:
        self._name = name
        self._client = client
        self._prefix = prefix

    def has(self, key: str) -> bool:
        """Whether there is a result of that key.

        Raises:
            ResultsUnavailable: S3 doesn't say.
        """
        # Who may not list the bucket is told 403 for what isn't there: then the write will tell.
        return self._call("head_object", key, accepted=(MISSING, FORBIDDEN)) is not None

    def read(self, key: str) -> Result | None:
        """Return the result of that key, if there is one.

        Raises:
            ResultsUnavailable: S3 doesn't give it, or it isn't ours.
        """
        from botocore.exceptions import BotoCoreError

        found = self._call("get_object", key, accepted=("NoSuchKey", "AccessDenied"))
        if found is None:
            return None
        try:
            result: Result = json.loads(found["Body"].read())
        except (ValueError, BotoCoreError) as error:
            raise ResultsUnavailable(f"reading {self._url(key)}", str(error)) from None
        return result

    def keep(self, key: str, result: Result) -> bool:
        """Keep a result unless there is one already; returns whether it is this one that is kept.

        Raises:
            ResultsUnavailable: S3 doesn't take it.
        """
        body = json_bytes(result)
        for _ in range(3):  # A conflict is another writer of the same key in the same moment: one of the two was first.
            put = self._call(
                "put_object",
                key,
                accepted=(EXISTS, CONFLICT),
                Body=body,
                ContentType="application/json",
                IfNoneMatch="*",
            )
            if put is not None:
                return True
            if self.has(key):
                return False
        raise ResultsUnavailable(f"writing {self._url(key)}", "conflicting writes")

    def place(self, key: str) -> dict[str, str]:
        """Where the result of that key is."""
        return {"bucket": self._name, "key": self._object(key)}

    def age_s(self, key: str) -> float | None:
        """For how long the result of that key has been there, in seconds by S3's clock; None if S3 doesn't say.

        Raises:
            ResultsUnavailable: S3 doesn't answer.
        """
        from email.utils import parsedate_to_datetime

        found = self._call("head_object", key, accepted=(MISSING, FORBIDDEN))
        date = found and found["ResponseMetadata"]["HTTPHeaders"].get("date")
        if not found or not date:
            return None
        return float((parsedate_to_datetime(date) - found["LastModified"]).total_seconds())

    def is_sent(self, key: str, to: str) -> bool:
        """Whether the result of that key was sent there.

        Raises:
            ResultsUnavailable: S3 doesn't say.
        """
        return self._ask("head_object", f"{SENT}{to}/{key}", (MISSING, FORBIDDEN)) is not None

    def mark_sent(self, key: str, to: str) -> None:
        """Remember that the result of that key was sent there.

        Raises:
            ResultsUnavailable: S3 doesn't take it.
        """
        self._ask("put_object", f"{SENT}{to}/{key}", (), Body=b"")

    def _call(self, method: str, key: str, accepted: tuple[str, ...], **others: Any) -> dict[str, Any] | None:
        return self._ask(method, self._object(key), accepted, **others)

    def _ask(self, method: str, name: str, accepted: tuple[str, ...], **others: Any) -> dict[str, Any] | None:
        from botocore.exceptions import BotoCoreError, ClientError

        what = f"{method} of s3://{self._name}/{name}"
        try:
            answer: dict[str, Any] = getattr(self._client, method)(Bucket=self._name, Key=name, **others)
        except ClientError as error:
            if error.response["Error"]["Code"] in accepted:
                return None
            raise ResultsUnavailable(what, str(error)) from None
        except BotoCoreError as error:
            raise ResultsUnavailable(what, str(error)) from None
        return answer

    def _url(self, key: str) -> str:
        return f"s3://{self._name}/{self._object(key)}"

    def _object(self, key: str) -> str:
        return f"{self._prefix}{key}.json"


def connect(bucket: str, region: str | None) -> Bucket:
    """Make a client; nothing is sent yet.

    Raises:
        SettingsError: There is no region, or AWS_ENDPOINT_URL_S3 is no URL.
    """
    setting = Setting("FIREBRICK_RESULTS_BUCKET", bucket, "a bucket")
    return Bucket(bucket, make_client("s3", region, setting))
