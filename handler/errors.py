"""Every error that a user, an operator or a client can cause: one cause per class.

`ApiError` subclasses end as an HTTP status and OpenAI's error body; `StartupError` subclasses end the process
with one line on stderr and exit code 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

SHOWN_CHARACTERS = 80


def shown(value: object) -> str:
    """Describe a refused JSON value in few, printable characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return f"an array of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = ascii(value[:SHOWN_CHARACTERS]) if isinstance(value, str) else _shown_number(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _shown_number(value: object) -> str:
    # An integer of more than 4,300 digits can't be printed at all in Python.
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


class FirebrickError(Exception):
    """The root of everything that is raised on purpose."""


class Cancelled(FirebrickError):
    """A generation was ended from outside, between two tokens or in the middle of a prefill."""


class Interrupted(FirebrickError):
    """A step was ended in its middle for one of its sequences; the others' is to be run again."""


class TimeUp(FirebrickError):
    """The deadline came after some tokens: what there is, is the answer."""


class InvocationMalformed(FirebrickError):
    """A header isn't what the Web Adapter writes; the request is answered without it, and the log says so."""

    def __init__(self, what: str, expected: str, value: object) -> None:
        super().__init__(f"{what} must be {expected}, got {shown(value)}")


# ---------------------------------------------------------------- start-up: exit code 2


class StartupError(FirebrickError):
    """The server can't start; its text says what is wrong and what to do."""

    exit_code: ClassVar[int] = 2


class SettingsError(StartupError):
    """A setting has a value that it can't have."""

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(f"{key}={value!r} is not valid: expected {expected}")


class PortInUse(StartupError):
    """The address to listen on can't be had."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {reason}; choose another with --port or PORT")


class KernelsMissing(StartupError):
    """The artefact asks for native kernels, and their library isn't there."""

    def __init__(self, path: object, artefact: object) -> None:
        super().__init__(
            f"{path} is missing, the library of the native kernels that {artefact} asks for: build it with `make "
            "setup` where there is cargo, name another file in FIREBRICK_KERNELS, or convert the artefact with "
            f"`python -m model_export.convert {artefact} --kernels stock`"
        )


class KernelsUnusable(StartupError):
    """The library of native kernels is there and can't be loaded."""


class IsaUnavailable(StartupError):
    """FIREBRICK_ISA names instructions that the library doesn't know or this processor doesn't have."""


class TokenizerError(StartupError):
    """The tokenizer's binary form can't be read."""


class TemplateInvalid(StartupError):
    """The chat template can't be compiled."""


class ArtefactError(StartupError):
    """The artefact directory can't be served."""


class ArtefactMissing(ArtefactError):
    """The directory or one of its files isn't there."""


class ArtefactDamaged(ArtefactError):
    """A file isn't what the manifest or the format says."""


class ArtefactVersion(ArtefactError):
    """The format version is one that this handler doesn't know."""


class PrefixDamaged(ArtefactError):
    """A prefix's file isn't what the format says."""

    def __init__(self, path: object, reason: object) -> None:
        super().__init__(f"{path} is no whole prefix: {reason}; export the model again with --prefix")


class PrefixMismatch(ArtefactError):
    """A prefix was computed with another model, for another cache, or in another version of the format."""

    def __init__(self, path: object, what: str, found: object, expected: object) -> None:
        super().__init__(
            f"{path} is of another artefact: its {what} is {shown(found)}, not {shown(expected)}; "
            "export the model again with --prefix, or leave the file out"
        )


class PromptRefused(StartupError):
    """A file can't be made a prefix: it is missing, no prompt, too long, or nothing that prompts have in common."""

    def __init__(self, path: object, reason: object) -> None:
        super().__init__(f"{path} can't be a prefix: {reason}")


class PrefixUnwritable(StartupError):
    """A prefix can't be written to where it belongs."""

    def __init__(self, path: object, reason: object) -> None:
        super().__init__(f"{path} can't be written: {reason}")


class SecretError(StartupError):
    """The API key can't be read from Secrets Manager; after a start, it is tried again later."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))  # It quotes what others wrote, and stays one line.


class CredentialsUnavailable(SecretError):
    """There is nothing to sign a call with."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no AWS credentials for FIREBRICK_API_KEY_SECRET: {reason}; Lambda sets them for the role")


class SecretMissing(SecretError):
    """Secrets Manager has no such secret, or no longer."""

    def __init__(self, id: str, region: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r} can't be found in {region} ({reason}): create it there, or give its ARN"
        )


class SecretForbidden(SecretError):
    """The role may not read the secret."""

    def __init__(self, id: str, region: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r} in {region} may not be read ({reason}): the role needs "
            "secretsmanager:GetSecretValue on it, and kms:Decrypt if it is encrypted with a key of your own"
        )


class SecretsUnreachable(SecretError):
    """Secrets Manager doesn't answer."""

    def __init__(self, id: str, region: str, host: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r}: Secrets Manager in {region} can't be reached at {host} ({reason}): a "
            "function in a VPC needs a VPC endpoint for secretsmanager, or a NAT gateway"
        )


class SecretRefused(SecretError):
    """Secrets Manager answers with an error that no other class is for."""

    def __init__(self, id: str, region: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r} in {region} was refused by Secrets Manager ({reason}): check the name, "
            "or set AWS_ENDPOINT_URL_SECRETS_MANAGER if it lies elsewhere"
        )


class SecretUnusable(SecretError):
    """The secret's value is no API key; it is never shown."""

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r} holds no API key: {reason}; store the key itself, or a JSON object with "
            "it as api_key, in printable ASCII characters without blanks around"
        )


class QueueUnusable(StartupError):
    """The queue can't be polled: it isn't there, the role may not read it, or SQS can't be reached."""

    def __init__(self, url: str, reason: object) -> None:
        super().__init__(
            f"FIREBRICK_QUEUE_URL={url!r} can't be polled: {' '.join(str(reason).split())}; check the URL, and that "
            "the role has sqs:ReceiveMessage, DeleteMessage, ChangeMessageVisibility and GetQueueAttributes on it"
        )


class QueueUnavailable(FirebrickError):
    """A call of SQS failed in the middle of polling; it is tried again later."""


# ---------------------------------------------------------------- requests: OpenAI's error body


class ApiError(FirebrickError):
    """An answer other than 2xx.

    Args:
        message: What is wrong, with the bad value, and what to do.
        param: The path of the request's member at fault, such as `messages[1].role`.
    """

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    code: ClassVar[str | None] = None

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that belong to this error."""
        return {}

    def body(self) -> dict[str, Any]:
        """Return OpenAI's error body."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}


class MalformedJson(ApiError):
    """The body isn't JSON."""

    code = "malformed_json"


class NotAnObject(ApiError):
    """The body is JSON, but not an object."""

    code = "invalid_body"


class NumberTooLong(ApiError):
    """The body's JSON holds an integer that can't be read."""

    code = "number_too_long"

    def __init__(self, digits: int) -> None:
        super().__init__(f"the body holds an integer of more than {digits} digits, which no parameter takes")


class MissingParameter(ApiError):
    """A required member isn't there."""

    code = "missing_required_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"missing required parameter: {param}", param)


class InvalidType(ApiError):
    """A member has the wrong JSON type."""

    code = "invalid_type"

    def __init__(self, param: str, expected: str, value: object) -> None:
        super().__init__(f"{param} must be {expected}, got {shown(value)}", param)


class InvalidValue(ApiError):
    """A member has the right type and a value that it can't have."""

    code = "invalid_value"

    def __init__(self, param: str, expected: str, value: object) -> None:
        super().__init__(f"{param} must be {expected}, got {shown(value)}", param)


class InvalidText(ApiError):
    """A string isn't Unicode text: it holds half of a surrogate pair."""

    code = "invalid_unicode"

    def __init__(self, param: str) -> None:
        super().__init__(f"{param} holds a lone surrogate, which is no Unicode text; send valid UTF-8", param)


class RunTooLong(ApiError):
    """A word or a gap between words is longer than the tokenizer can take."""

    code = "run_too_long"

    def __init__(self, param: str, limit: int) -> None:
        super().__init__(f"{param} holds more than {limit} characters without, or of nothing but, blanks", param)


class UnsupportedParameter(ApiError):
    """A member asks for something that this server doesn't do."""

    code = "unsupported_parameter"

    def __init__(self, param: str, what: str, value: object) -> None:
        super().__init__(f"{what}, got {param} = {shown(value)}; leave {param} out", param)


class GrammarRefused(ApiError):
    """A schema or grammar is malformed, says something that can't be enforced, or is too large."""

    code = "grammar_refused"

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param} can't be followed: {reason}", param)


class GrammarExhausted(ApiError):
    """In mid-answer a grammar needs more work for a token than it may, or no token can go on."""

    code = "grammar_exhausted"

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param} can't be followed to its end: {reason}; simplify it", param)


class ContextLengthExceeded(ApiError):
    """The prompt leaves no room for an answer."""

    code = "context_length_exceeded"

    def __init__(self, param: str, prompt_tokens: int, context_length: int) -> None:
        super().__init__(
            f"the prompt has {prompt_tokens} tokens, and the model's context of {context_length} must hold"
            " the answer too; shorten the prompt",
            param,
        )


class EmptyPrompt(ApiError):
    """The prompt has no token at all."""

    code = "empty_prompt"

    def __init__(self, param: str) -> None:
        super().__init__(f"{param} gives no token; send some text", param)


class NoChatTemplate(ApiError):
    """The model is a base model."""

    code = "no_chat_template"

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} has no chat template; use /v1/completions", "messages")


class EmbeddingsUnavailable(ApiError):
    """The artefact isn't meant for embeddings."""

    code = "no_embeddings"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"{model} was exported for text only; export it with --embeddings mean or last, or change the artefact: "
            "python -m model_export.convert DIR --embeddings mean",
            "model",
        )


class EmbeddingsOnly(ApiError):
    """The model has no head."""

    code = "no_text"

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} can't write text, its checkpoint has no LM head; use /v1/embeddings", "model")


class InputTooLong(ApiError):
    """An input has more tokens than the context."""

    code = "context_length_exceeded"

    def __init__(self, param: str, tokens: int, context_length: int) -> None:
        super().__init__(f"{param} has {tokens} tokens, more than the model's context of {context_length}", param)


class TemplateFailed(ApiError):
    """The chat template refused the messages."""

    code = "chat_template_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the model's chat template refused the messages: {reason}", "messages")


class Unauthorized(ApiError):
    """The API key is missing or wrong."""

    status = 401
    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("incorrect or missing API key; send it as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"www-authenticate": "Bearer"}


class MalformedHttp(ApiError):
    """What came isn't HTTP/1.1."""

    code = "malformed_http"

    def __init__(self, reason: str) -> None:
        super().__init__(f"this is no HTTP/1.1 request: {reason}")


class HeadTooLarge(ApiError):
    """The request's line and headers have more bytes than are read."""

    status = 431
    code = "headers_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request's line and headers are larger than {limit} bytes; send fewer or shorter headers")


class HeadLate(ApiError):
    """The request's line and headers didn't come to their end."""

    status = 408
    code = "request_timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the request's line and headers were not complete after {seconds:g} s")


class HttpVersionUnsupported(ApiError):
    """The request is of another version of HTTP."""

    status = 505
    code = "http_version_unsupported"

    def __init__(self, version: str) -> None:
        super().__init__(f"HTTP/{version} is not spoken here; use HTTP/1.1")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"connection": "close"}


class TooManyConnections(ApiError):
    """As many clients are being answered as there may be connections."""

    status = 503
    type = "server_error"
    code = "too_many_connections"

    def __init__(self) -> None:
        super().__init__("too many connections are open; try again in 1 s")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"retry-after": "1"}


class EncodingUnsupported(ApiError):
    """The body is compressed in a way that isn't undone here."""

    status = 415
    code = "unsupported_encoding"

    def __init__(self, encoding: str) -> None:
        super().__init__(f"a body with content-encoding {shown(encoding)} can't be read; send gzip, deflate or none")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"accept-encoding": "gzip, deflate"}


class EncodingBroken(ApiError):
    """The body isn't compressed as its header says."""

    code = "malformed_encoding"

    def __init__(self, encoding: str) -> None:
        super().__init__(f"the body is not one whole {encoding} stream, as its content-encoding says")


class NotFound(ApiError):
    """No such path."""

    status = 404
    code = "not_found"

    def __init__(self, path: str) -> None:
        super().__init__(f"no such path: {shown(path)}; GET /openapi.json lists all")


class EventsNotTaken(ApiError):
    """An event that is no HTTP request came through the Web Adapter.

    No other error has this status, so that the adapter can be told to fail the invocation: a queue then keeps its
    messages.
    """

    status = 501
    code = "events_not_taken"

    def __init__(self) -> None:
        super().__init__("this function answers HTTP requests only; send events to the worker function")


class ModelNotFound(ApiError):
    """Another model than the one that is served."""

    status = 404
    code = "model_not_found"

    def __init__(self, model: str, served: str) -> None:
        super().__init__(f"the model {shown(model)} is not served here; use {served!r}", "model")


class NothingStored(ApiError):
    """A response is asked for by its id."""

    status = 404
    code = "nothing_stored"

    def __init__(self, id: str) -> None:
        super().__init__(f"no response {shown(id)}: nothing is stored here; keep the answers that you need", "id")


class MethodNotAllowed(ApiError):
    """The path exists, the method doesn't."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, path: str, allow: str) -> None:
        super().__init__(f"{path} does not take {method}; use {allow}")
        self.allow = allow

    @property
    def headers(self) -> Mapping[str, str]:
        return {"allow": self.allow}


class ClientIdle(ApiError):
    """The client sends no more of its body, or takes no more of its answer."""

    status = 408
    code = "client_idle"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the connection stood still, or nearly so, for {seconds:g} s")


class ResponseTooLarge(ApiError):
    """The answer has more bytes than may be sent."""

    code = "response_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the answer is larger than {limit} bytes; ask for fewer tokens, logprobs or inputs", "max_tokens"
        )


class BodyTooLarge(ApiError):
    """The body has more bytes than FIREBRICK_MAX_BODY."""

    status = 413
    code = "request_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request's body is larger than {limit} bytes; send less")


class QueueFull(ApiError):
    """As many requests are waiting as may wait."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"one request is answered at a time and {waiting} are waiting; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> Mapping[str, str]:
        return {"retry-after": str(self.retry_after_s)}


class ClientGone(ApiError):
    """The client closed the connection; nobody reads this answer, only the log knows it."""

    status = 499
    code = "client_gone"

    def __init__(self) -> None:
        super().__init__("the client closed the connection")


class GenerationFailed(ApiError):
    """The server failed, not the client."""

    status = 500
    type = "server_error"
    code = "generation_failed"

    def __init__(self) -> None:
        super().__init__("the server failed to answer this request; its log has the reason")


class ShuttingDown(ApiError):
    """The server is ending and takes no more work, or has ended this work."""

    status = 503
    type = "server_error"
    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("the server is shutting down; try again")


class DeadlineExceeded(ApiError):
    """The function's time was up before the first token."""

    status = 504
    type = "server_error"
    code = "deadline_exceeded"

    def __init__(self) -> None:
        super().__init__("no token was ready before the function's deadline; shorten the prompt or raise the time-out")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"x-should-retry": "false"}  # OpenAI's clients obey: the same prompt would take the same time again.


# ---------------------------------------------------------------- the worker function: jobs


class UnknownEvent(ApiError):
    """The function was invoked with something that is neither a request nor a batch of messages."""

    code = "unknown_event"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: send an object with 'prompt', 'messages' or 'input', SQS messages with such a body, or HTTP "
            "requests through a function URL"
        )


class ResultsBucketMissing(ApiError):
    """A job wants its result kept, and there is no place for it."""

    status = 500  # the operator's fault, not the caller's
    type = "server_error"
    code = "results_bucket_missing"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} need a place for results: set FIREBRICK_RESULTS_BUCKET to an S3 bucket's name")


class ResultsUnavailable(ApiError):
    """The bucket can't be read or written."""

    status = 502
    type = "server_error"
    code = "results_unavailable"

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what} failed: {reason}")


class NotEnoughTime(ApiError):
    """A message no longer fits before the deadline, or didn't; it goes back to its queue."""

    status = 503
    type = "server_error"
    code = "not_enough_time"

    def __init__(self, left_s: float, needed_s: float | None = None) -> None:
        needed = "was not answered before the deadline" if needed_s is None else f"needs about {needed_s:.1f} s"
        super().__init__(f"the message {needed}, {left_s:.1f} s are left; it goes back to its queue")
