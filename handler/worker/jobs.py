"""Event → jobs: what is to be answered, by which key its result is known, and where it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from handler.api.chat import CHAT
from handler.api.completions import COMPLETIONS
from handler.api.embeddings import EMBEDDINGS
from handler.api.endpoint import Endpoint, Request
from handler.api.members import Members, check_text, parse_object
from handler.api.options import Served
from handler.errors import InvalidValue, UnknownEvent

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

# An event has no path: its members tell what it asks for.
ENDPOINTS: Mapping[str, Endpoint] = {"prompt": COMPLETIONS, "messages": CHAT, "input": EMBEDDINGS}
NOTIFICATIONS = ("Records", "Event", "detail-type")  # S3's events, its test of a queue, EventBridge's events
KEY = "idempotency_key"
# It becomes a name in the bucket: characters that S3 takes as they are, and none that makes a folder.
_VALID_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]{0,199}")


@dataclass(frozen=True)
class Job:
    """One request.

    Attributes:
        id: Of the invocation or the message.
        source: What kind of event it came in; `s3` is a document or a part of one.
        request: Validated.
        idempotency_key: Names the result; None for a job whose result only its caller gets.
        sent_at: When it was put into its queue, in Unix seconds of the queue's clock; None if that isn't known.
    """

    id: str
    source: Literal["invoke", "sqs", "s3"]
    request: Request
    idempotency_key: str | None
    sent_at: float | None = None

    def waited_ms(self, now: float) -> float | None:
        """Milliseconds in the queue until `now`, in Unix seconds; two clocks differ, so a short wait may be none."""
        return None if self.sent_at is None else max(0.0, round((now - self.sent_at) * 1e3, 3))


def invoke_job(values: Mapping[str, Any], request_id: str, served: Served) -> Job:
    """Check a plain invoke.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    key = values.get(KEY)
    return Job(request_id, "invoke", _request(values, served), None if key is None else _checked(key))


def message_values(record: SQSRecord) -> dict[str, Any]:
    """Read a message's body.

    Raises:
        ApiError: It is no JSON object.
    """
    # A lone surrogate, which JSON can write, is no UTF-8 and so refused with the body.
    return parse_object(record.body.encode(errors="surrogatepass"))


def is_notification(values: Mapping[str, Any]) -> bool:
    """Whether a body is what S3, or EventBridge for it, tells of objects; a request has other members."""
    return not any(name in values for name in ENDPOINTS) and any(name in values for name in NOTIFICATIONS)


def message_job(record: SQSRecord, values: Mapping[str, Any], served: Served) -> Job:
    """Check a message.

    Its key is the message attribute `idempotency_key`, else the body's member, else the message's id.

    Args:
        record: The message.
        values: Its body.
        served: What may be asked for.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    return Job(record.message_id, "sqs", _request(values, served), message_key(record, values), sent_at(record))


def message_key(record: SQSRecord, values: Mapping[str, Any]) -> str:
    """Find the key of a message.

    Raises:
        InvalidType: It isn't a string.
        InvalidValue: It can't be a name in the bucket.
    """
    attribute = record.message_attributes[KEY] if record.get("messageAttributes") else None
    if attribute is not None:
        return _checked(attribute.get("stringValue"))
    given = values.get(KEY)
    return _checked(record.message_id if given is None else given)


def sent_at(record: SQSRecord) -> float | None:
    """When a message was put into its queue, in Unix seconds; None if it doesn't say."""
    # https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html: milliseconds, as a text
    sent = (record.get("attributes") or {}).get("SentTimestamp")
    return int(sent) / 1e3 if isinstance(sent, str) and re.fullmatch(r"[0-9]{1,15}", sent) else None


def _checked(value: object) -> str:
    key = check_text(value, KEY)
    if not _VALID_KEY.fullmatch(key):
        raise InvalidValue(KEY, "1 to 200 letters, digits and _.=- that begin with a letter or digit", key)
    return key


def _request(values: Mapping[str, Any], served: Served) -> Request:
    given = [name for name in ENDPOINTS if name in values]
    if not given:
        raise UnknownEvent("the body has none of 'prompt', 'messages' and 'input'")
    if len(given) > 1:
        raise InvalidValue(given[1], f"left out where there is a {given[0]}", values[given[1]])
    Members(values).refuse("stream", "a result comes as a whole", False)
    return ENDPOINTS[given[0]].parse(values, served)
