"""What the engine is to do for a request: the ids to begin with, and how far to go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from handler.api.options import Options
from handler.engine.constraint import Constraint
from handler.engine.sampling import SamplingParams
from handler.errors import ContextLengthExceeded, EmptyPrompt, NoChatTemplate
from handler.text.deltas import Ending
from handler.text.grammar import Grammar
from handler.text.reading import Reader
from handler.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from handler.text.template import ChatTemplate  # jinja2: not needed for base models


@dataclass(frozen=True)
class Echo:
    """A prompt that comes before its answer.

    Attributes:
        text: The prompt's.
        offsets: Where in it the text of each of its tokens begins, in characters.
    """

    text: str
    offsets: Sequence[int]


@dataclass(frozen=True)
class TextTask:
    """Text that is to be generated.

    Attributes:
        prompt_ids: Token ids; at least one. Choices of one prompt share them.
        max_tokens: As many as were asked for and fit the context; 0 only where there is an echo.
        sampling: How tokens are chosen.
        stop: Strings that end it.
        constraint: Makes the state of a grammar that it must follow; None for free text.
        reader: Makes who tells words, thoughts and calls apart; None where all of it is words.
        shown: Special tokens that the reader sees: their texts by their ids.
        ending: What else there is to say of its end.
        echo: What comes before it; with log-probabilities, if the sampling asks for any.
    """

    prompt_ids: Sequence[int]
    max_tokens: int
    sampling: SamplingParams
    stop: tuple[str, ...]
    constraint: Callable[[], Constraint] | None = None
    reader: Callable[[], Reader] | None = None
    shown: Mapping[int, bytes] = field(default_factory=dict)
    ending: Ending = field(default_factory=Ending)
    echo: Echo | None = None

    def choices(self, count: int) -> Sequence[TextTask]:
        """Return as many tasks for answers to the same prompt.

        The seed of the one with an index is the first one's plus the index, as vLLM and llama.cpp have it.
        """
        return [replace(self, sampling=_of_choice(self.sampling, index)) for index in range(count)]


def _of_choice(sampling: SamplingParams, index: int) -> SamplingParams:
    seed = sampling.seed
    # A seed and its negative give the same random numbers, so it goes away from 0.
    return sampling if seed is None else replace(sampling, seed=seed + index if seed >= 0 else seed - index)


class Compiler(Protocol):
    """Makes constraints of grammars."""

    def compile(self, grammar: Grammar) -> Callable[[], Constraint]:
        """Return what makes the state of a grammar, at its beginning, for each answer.

        Raises:
            ApiError: The grammar can't be followed; the error names the member, the place and the keyword.
        """
        ...


@dataclass(frozen=True)
class Prompts:
    """What a model's prompts are made with.

    Attributes:
        tokenizer: The model's tokenizer.
        template: Its chat template; None for a base model.
        model_id: The model's name, for errors.
        context_length: How many tokens prompt and answer may have together.
        grammars: What compiles the grammars that answers must follow.
    """

    tokenizer: Tokenizer
    template: ChatTemplate | None
    model_id: str
    context_length: int
    grammars: Compiler

    def chat_template(self) -> ChatTemplate:
        """Return the chat template.

        Raises:
            NoChatTemplate: The model is a base model.
        """
        if self.template is None:
            raise NoChatTemplate(self.model_id)
        return self.template

    def text_task(
        self,
        prompt_ids: Sequence[int],
        options: Options,
        param: str,
        *,
        grammar: Grammar | None = None,
        reader: Callable[[], Reader] | None = None,
        echo: Echo | None = None,
    ) -> TextTask:
        """Hold a prompt against the context, and compile the grammar that its answer must follow.

        Args:
            prompt_ids: The whole prompt.
            options: How many tokens are wanted, and which.
            param: The body's member that the prompt came from, for errors.
            grammar: Instead of the options' own.
            reader: Makes who tells words, thoughts and calls apart; None where all of it is words.
            echo: What comes before the answer.

        Raises:
            ApiError: The grammar can't be followed.
            EmptyPrompt: There are no ids.
            ContextLengthExceeded: They leave no room for an answer.
        """
        if not prompt_ids:
            raise EmptyPrompt(param)
        room = self.context_length - len(prompt_ids)
        if room < (0 if options.max_tokens == 0 else 1):
            raise ContextLengthExceeded(param, len(prompt_ids), self.context_length)
        max_tokens = room if options.max_tokens is None else min(options.max_tokens, room)
        grammar = grammar or options.grammar
        constraint = self.grammars.compile(grammar) if grammar is not None else None
        task = TextTask(prompt_ids, max_tokens, options.sampling, options.stop, constraint, reader)
        return replace(task, ending=options.ending, echo=echo)
