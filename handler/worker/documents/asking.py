"""What is asked of a document: its metadata and the deployment's defaults → requests about its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from handler.api.chat import ChatRequest, parse_chat
from handler.api.conversation import Message
from handler.api.members import Members, check_text, parse_object
from handler.api.options import Served
from handler.errors import ApiError, InstructionMissing, InvalidValue, SettingsError

Combine = Literal["model", "list"]
WAYS: tuple[Combine, ...] = ("model", "list")
OWN = ("system", "combine", "combine_instruction")  # members that a chat doesn't have
COMBINE_INSTRUCTION = (
    "A long document was read in parts, one after the other. The task for each part was:\n\n{instruction}\n\nPut the "
    "answers below together into one answer to the same task, as if the document had been read as a whole. Keep what "
    "matters in its order, say nothing twice, and add nothing."
)


@dataclass(frozen=True)
class Asking:
    """An instruction, and how answers to it are made and put together.

    Attributes:
        instruction: What is to be done with the document.
        members: The request's, as they were given.
        combine: Who puts the answers of parts together: the model, or nobody.
        combine_instruction: For the model, if it does.
        request: All but the document, checked.
    """

    instruction: str
    members: Mapping[str, Any]
    combine: Combine
    combine_instruction: str
    request: ChatRequest

    def about(self, text: str, max_tokens: int) -> ChatRequest:
        """Ask about a text."""
        return self._saying(f"{self.instruction}\n\n{text}", max_tokens)

    def combining(self, answers: Sequence[str], max_tokens: int) -> ChatRequest:
        """Ask to put answers together."""
        told = (f"Answer {number}:\n{answer.strip()}" for number, answer in enumerate(answers, 1))
        return self._saying("\n\n".join((self.combine_instruction, *told)), max_tokens)

    def _saying(self, content: str, max_tokens: int) -> ChatRequest:
        *before, _ = self.request.messages
        said: Message = {"role": "user", "content": content}
        options = replace(self.request.options, max_tokens=max_tokens)
        return replace(self.request, messages=(*before, said), options=options)


def read_asking(
    metadata: Mapping[str, str], instruction: str | None, defaults: Mapping[str, Any], served: Served
) -> Asking:
    """Read what is asked.

    Args:
        metadata: The object's own: `instruction`, and in `request` a JSON object with further members.
        instruction: For objects without one.
        defaults: Members for all objects; an object's own come first.
        served: What may be asked for.

    Raises:
        InstructionMissing: There is no instruction at all.
        ApiError: A member is refused; the error names it and the bad value.
    """
    told = decoded(metadata.get("instruction", "")).strip() or (instruction or "").strip()
    if not told:
        raise InstructionMissing()
    own = metadata.get("request")
    values = {**defaults, **({} if own is None else _object(decoded(own)))}
    members = Members(values)
    for name in ("messages", "prompt", "input"):
        members.refuse(name, "the document and its instruction are what is answered")
    members.refuse("stream", "a result comes as a whole", False)
    members.refuse("n", "a document has one answer", 1)
    for name in ("tools", "functions"):
        members.refuse(name, "nobody is there to call them; response_format gives objects", [])
    system = members.text("system")
    said = [*([] if system is None else [{"role": "system", "content": system}]), {"role": "user", "content": told}]
    chat = {name: value for name, value in values.items() if name not in OWN}
    request = parse_chat({**chat, "messages": said}, served)
    combine = _combine(members, structured=request.options.grammar is not None)
    combining = members.text("combine_instruction") or COMBINE_INSTRUCTION
    return Asking(told, values, combine, combining.replace("{instruction}", told), request)


def check_defaults(defaults: Mapping[str, Any], served: Served) -> None:
    """Check the members that all documents' requests have.

    Raises:
        SettingsError: One of them is refused.
    """
    try:
        read_asking({}, "any", defaults, served)
    except ApiError as error:
        expected = f"parameters of a chat ({error.message})"
        raise SettingsError("FIREBRICK_DOCUMENT_REQUEST", dict(defaults), expected) from None


def decoded(value: str) -> str:
    """Read a metadata value; S3 encodes what isn't ASCII by RFC 2047.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    """
    if "=?" not in value:
        return value
    from email.errors import HeaderParseError
    from email.header import decode_header, make_header

    try:
        text = str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return value  # not what S3 writes: the owner's own characters
    return check_text(text, "metadata")


def _object(text: str) -> dict[str, Any]:
    try:
        return parse_object(text.encode(errors="surrogatepass"))
    except ApiError as error:
        raise InvalidValue("metadata.request", f"a JSON object ({error.message})", text) from None


def _combine(members: Members, structured: bool) -> Combine:
    given = members.text("combine")
    if given is None:
        # Two objects that follow a schema are two objects; what one of both would be, only their owner knows.
        return "list" if structured else "model"
    for way in WAYS:
        if given == way:
            return way
    raise InvalidValue("combine", " or ".join(WAYS), given)
