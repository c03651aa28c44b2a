"""What a request's body asks for, and can't have."""

from __future__ import annotations

from handler.errors.base import ApiError, shown


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
        # What has another type is left out as a whole.
        super().__init__(f"{what}, got {param} = {shown(value)}; leave {param.removesuffix('.type')} out", param)


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


class ThreadsUnsupported(ApiError):
    """A message is to be kept, so that the next one can leave out what came before it."""

    code = "thread_unsupported_request"  # Anthropic's: its client then goes on with whole conversations

    def __init__(self, thread: object) -> None:
        super().__init__(
            f"nothing is stored here, so messages have to be the whole conversation, got thread = {shown(thread)}; "
            "leave thread out",
            "thread",
        )
