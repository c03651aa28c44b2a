"""/v1/embeddings: texts, or token ids, to vectors of length 1."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from handler.api.contents import Prompt, text_or_no_ids, texts_or_ids
from handler.api.endpoint import Endpoint
from handler.api.events import Envelope
from handler.api.members import Members
from handler.api.options import Served, parse_model
from handler.api.prompt import EmbeddingTask, Prompts
from handler.errors import EmbeddingsUnavailable, InvalidValue
from handler.text.deltas import Delta, ScoredToken
from handler.text.meter import Meter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from handler.api.schemas import Description

MAX_INPUTS = 2048
Encoding = Literal["float", "base64"]
_ARTEFACTS = "the artefact says how vectors are made"
_CUT = "inputs are never cut; shorten it"
# Members of other servers that would change the vectors, and their values that ask for nothing.
_REFUSED: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("stream", "vectors come as a whole", (False,)),
    ("messages", "send texts as input", ()),
    ("input_type", "write what the model wants before a query or a document into the input", ()),
    ("prompt_name", "write what the model wants before a query or a document into the input", ()),
    ("pooling", _ARTEFACTS, ()),
    ("embd_normalize", "vectors have length 1", (2,)),
    ("normalize", "vectors have length 1", (True,)),
    ("truncate", _CUT, (False,)),
    ("truncate_prompt_tokens", _CUT, ()),
    ("add_special_tokens", "send token ids for other special tokens", (True,)),
)


@dataclass(frozen=True)
class Wishes:
    """What is wanted beside the vectors."""

    model: str
    stream: bool = False


@dataclass(frozen=True)
class EmbeddingRequest:
    """A body of /v1/embeddings.

    Attributes:
        inputs: Each a text or token ids.
        options: The model, and no stream.
        dimensions: How many of a vector's elements are wanted.
        encoding: How they are written.
        several: Whether the body's input was an array of inputs, for the paths in errors.
    """

    id_prefix: ClassVar[str] = "embd-"

    inputs: tuple[Prompt, ...]
    options: Wishes
    dimensions: int
    encoding: Encoding
    several: bool

    @property
    def logged(self) -> object:
        return self.inputs if self.several else self.inputs[0]

    def tasks(self, prompts: Prompts) -> Sequence[EmbeddingTask]:
        return [
            prompts.embedding_task(self._ids(given, prompts, path), path)
            for given, path in zip(self.inputs, self._paths(), strict=True)
        ]

    def _ids(self, given: Prompt, prompts: Prompts, path: str) -> Sequence[int]:
        return prompts.tokenizer.encode_prompt(given, path) if isinstance(given, str) else given

    def _paths(self) -> Iterator[str]:
        return (f"input[{index}]" if self.several else "input" for index in range(len(self.inputs)))

    def answer(self, envelope: Envelope, meter: Meter) -> EmbeddingAnswer:
        return EmbeddingAnswer(envelope, meter, self.dimensions, self.encoding)


def parse_embeddings(values: Mapping[str, Any], served: Served) -> EmbeddingRequest:
    """Check a body of /v1/embeddings.

    Raises:
        ApiError: It is refused; the error names the parameter and the bad value.
    """
    members = Members(values)
    model = parse_model(members, served)
    if served.embeddings is None:
        raise EmbeddingsUnavailable(served.model_id)
    for name, what, neutral in _REFUSED:
        members.refuse(name, what, *neutral)
    given = members.get("input")
    size = served.embeddings.size
    return EmbeddingRequest(
        inputs=texts_or_ids(given, "input", served.vocab_size, f"at most {MAX_INPUTS} inputs", MAX_INPUTS, _text),
        options=Wishes(model),
        dimensions=members.integer("dimensions", 1, size) or size,
        encoding=_encoding(members),
        several=isinstance(given, list) and isinstance(given[0], str | list),
    )


def _encoding(members: Members) -> Encoding:
    given = members.text("encoding_format")
    for encoding in get_args(Encoding):
        if given in (None, encoding):
            known: Encoding = encoding
            return known
    raise InvalidValue("encoding_format", "'float' or 'base64'", given)


def _text(value: object, path: str) -> str:
    text = text_or_no_ids(value, path)
    if not text:
        raise InvalidValue(path, "a string of at least one character", text)
    return text


class EmbeddingAnswer:
    """A list of vectors in the inputs' order.

    Args:
        envelope: What the answer says of itself.
        meter: Has counted the inputs' tokens.
        dimensions: Elements of a vector.
        encoding: How they are written.
    """

    def __init__(self, envelope: Envelope, meter: Meter, dimensions: int, encoding: Encoding) -> None:
        self._envelope = envelope
        self._meter = meter
        self._dimensions = dimensions
        self._encoding = encoding

    def events(self, delta: Delta) -> Iterator[bytes]:
        return iter(())  # It is never streamed.

    def end(self) -> Iterator[bytes]:
        return iter(())

    def whole(self, choices: Sequence[Delta]) -> dict[str, Any]:
        tokens = self._meter.prompt_tokens
        return {
            "object": "list",
            "data": [self._datum(choice) for choice in choices],
            "model": self._envelope.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def logprobs(self, tokens: tuple[ScoredToken, ...]) -> dict[str, Any] | None:
        return None

    def _datum(self, choice: Delta) -> dict[str, Any]:
        assert choice.embedding is not None
        vector = normalized(choice.embedding[: self._dimensions])
        return {"object": "embedding", "index": choice.index, "embedding": _written(vector, self._encoding)}


def normalized(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring a vector to length 1; one of zeros, which has no direction, stays what it is."""
    import numpy as np  # Start-up imports it, but not for this module.

    length = np.linalg.norm(vector.astype(np.float64))
    return (vector / length).astype(np.float32) if length else vector


def _written(vector: NDArray[np.float32], encoding: Encoding) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    # Nine digits tell a float32 from all others, half of what JSON would write of it as a double.
    return [float(f"{value:.9g}") for value in vector.tolist()]


def _describe() -> Description:
    from handler.api import schemas
    from handler.api.schemas import COUNT, INTEGER, STRING, TEXT, array, nullable, object_of, reference

    token_ids = array(reference("TokenId"), minItems=1)
    several = {"minItems": 1, "maxItems": MAX_INPUTS}
    request = object_of(
        ["input"],
        model=reference("ModelId"),
        input={"anyOf": [TEXT, array(TEXT, **several), token_ids, array(token_ids, **several)]},
        dimensions=nullable("integer", minimum=1, description="At most the model's hidden size."),
        encoding_format={"enum": [*get_args(Encoding), None]},
    )
    vector = {"anyOf": [array({"type": "number"}), {**STRING, "contentEncoding": "base64"}]}
    datum = object_of(["object", "index", "embedding"], object={"const": "embedding"}, index=COUNT, embedding=vector)
    usage = object_of(["prompt_tokens", "total_tokens"], prompt_tokens=INTEGER, total_tokens=INTEGER)
    answer = object_of(
        ["object", "data", "model", "usage"],
        object={"const": "list"},
        data=array(datum),
        model=STRING,
        usage=usage,
    )
    return schemas.Description(
        summary="Make vectors of texts",
        request="EmbeddingRequest",
        answer="EmbeddingAnswer",
        schemas={"EmbeddingRequest": request, "EmbeddingAnswer": answer},
    )


EMBEDDINGS = Endpoint("/v1/embeddings", parse_embeddings, _describe)
