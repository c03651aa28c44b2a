"""What the engine is to do for a request: the ids to begin with, and how far to go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from handler.api.options import Options
from handler.engine.constraint import Constraint
from handler.engine.sampling import SamplingParams
from handler.errors import ContextLengthExceeded, EmptyPrompt, InputTooLong, NoChatTemplate
from handler.text.reading import Reader
from handler.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from handler.text.template import ChatTemplate  # jinja2: not needed for base models


@dataclass(frozen=True)
class TextTask:
    """Text that is to be generated.

    Attributes:
        prompt_ids: Token ids; at least one.
        max_tokens: As many as were asked for and fit the context.
        sampling: How tokens are chosen.
        stop: Strings that end it.
        constraint: Makes the state of a grammar that it must follow; None for free text.
        reader: Makes who tells words, thoughts and calls apart; None where all of it is words.
    """

    prompt_ids: Sequence[int]
    max_tokens: int
    sampling: SamplingParams
    stop: tuple[str, ...]
    constraint: Callable[[], Constraint] | None = None
    reader: Callable[[], Reader] | None = None


@dataclass(frozen=True)
class EmbeddingTask:
    """An input that is to become a vector.

    Attributes:
        prompt_ids: Token ids; at least one, and no more than the context holds.
    """

    prompt_ids: Sequence[int]
    max_tokens: ClassVar[int] = 0


Task = TextTask | EmbeddingTask


@dataclass(frozen=True)
class Prompts:
    """What a model's prompts are made with.

    Attributes:
        tokenizer: The model's tokenizer.
        template: Its chat template; None for a base model.
        model_id: The model's name, for errors.
        context_length: How many tokens prompt and answer may have together.
    """

    tokenizer: Tokenizer
    template: ChatTemplate | None
    model_id: str
    context_length: int

    def chat_template(self) -> ChatTemplate:
        """Return the chat template.

        Raises:
            NoChatTemplate: The model is a base model.
        """
        if self.template is None:
            raise NoChatTemplate(self.model_id)
        return self.template

    def text_task(self, prompt_ids: Sequence[int], options: Options, param: str) -> TextTask:
        """Hold a prompt against the context.

        Args:
            prompt_ids: The whole prompt.
            options: How many tokens are wanted, and which.
            param: The body's member that the prompt came from, for errors.

        Raises:
            EmptyPrompt: There are no ids.
            ContextLengthExceeded: They leave no room for an answer.
        """
        if not prompt_ids:
            raise EmptyPrompt(param)
        room = self.context_length - len(prompt_ids)
        if room < 1:
            raise ContextLengthExceeded(param, len(prompt_ids), self.context_length)
        max_tokens = room if options.max_tokens is None else min(options.max_tokens, room)
        return TextTask(prompt_ids, max_tokens, options.sampling, options.stop)

    def embedding_task(self, prompt_ids: Sequence[int], param: str) -> EmbeddingTask:
        """Hold an input against the context.

        Args:
            prompt_ids: The whole input.
            param: The body's member that it came from, for errors.

        Raises:
            EmptyPrompt: There are no ids.
            InputTooLong: There are too many.
        """
        if not prompt_ids:
            raise EmptyPrompt(param)
        if len(prompt_ids) > self.context_length:
            raise InputTooLong(param, len(prompt_ids), self.context_length)
        return EmbeddingTask(prompt_ids)
