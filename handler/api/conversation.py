"""A conversation in one form for all endpoints that have one: messages, tools, and what is to be done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from handler.api.options import Options
from handler.api.prompt import Prompts, TextTask
from handler.api.rendering import Opening
from handler.errors import InvalidValue
from handler.text.grammar import Grammar
from handler.text.tools import Tools

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Conversation:
    """What is said so far, and what may be called.

    Attributes:
        messages: As chat templates take them: `role`, `content`, and of an assistant's `tool_calls` (OpenAI's form, but
            the arguments are an object) and `reasoning_content`, of a tool's `tool_call_id` and `name`.
        tools: None where there are none.
        template_variables: Further variables of the template.
        param: The body's member that it came from, for errors.
        opening: What the model is to go on with.
        add_special: Whether the rendered text gets what the checkpoint puts around a raw one.
    """

    messages: tuple[Message, ...]
    tools: Tools | None = None
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    param: str = "messages"
    opening: Opening = "answer"
    add_special: bool = False

    def prompt_ids(self, prompts: Prompts, grammar: Grammar | None = None) -> Sequence[int]:
        """Render it and encode that.

        Args:
            prompts: What the model's prompts are made with.
            grammar: What the answer's text must follow, for templates that say so.

        Raises:
            ApiError: There is no template, or it or the tokenizer refuses the messages.
        """
        return self._encode(prompts, self.prompt_text(prompts, grammar))

    def prompt_text(self, prompts: Prompts, grammar: Grammar | None = None) -> str:
        """Render it, up to where the answer begins.

        Args:
            prompts: What the model's prompts are made with.
            grammar: What the answer's text must follow, for templates that say so.

        Raises:
            ApiError: There is no template, or it refuses the messages.
        """
        template = prompts.chat_template()
        taken = sorted(template.reserved & self.template_variables.keys())
        if taken:
            expected = "an object without the variables that the request itself fills"
            raise InvalidValue("chat_template_kwargs", expected, taken[0])
        # For templates that have a place for it; a request's own variable of this name comes first.
        announced = {"json_schema": grammar.schema if grammar is not None else None}
        variables = {**announced, **self.template_variables}
        return template.render(self.messages, variables, self.tools, self.opening)

    def _encode(self, prompts: Prompts, text: str) -> Sequence[int]:
        # The template writes the BOS itself; like Hugging Face's apply_chat_template, nothing is added to it.
        encode = prompts.tokenizer.encode_prompt if self.add_special else prompts.tokenizer.encode
        return encode(text, param=self.param)

    def task(self, prompts: Prompts, options: Options, grammar: Grammar | None = None) -> TextTask:
        """Say what the engine is to do: with tools, a grammar where one is due, and a reader that finds calls.

        Args:
            prompts: What the model's prompts are made with.
            options: Of the request.
            grammar: What the answer's text must follow, instead of the options' own.

        Raises:
            ApiError: The template, the tokenizer, the context or a tool's schema refuses it.
        """
        grammar = grammar or options.grammar
        text = self.prompt_text(prompts, grammar)
        ids = self._encode(prompts, text)
        if self.tools is None and prompts.chat_template().formats.reasoning_format is None:
            return prompts.text_task(ids, options, self.param, grammar=grammar)
        from handler.api.answering import plan_answer  # most servers never need it, and all would wait for it

        plan = plan_answer(prompts, text, self.tools, grammar)
        task = prompts.text_task(ids, options, self.param, grammar=plan.grammar, reader=plan.reader)
        return replace(task, shown=plan.shown)
