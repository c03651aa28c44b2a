"""Request → the ids that the engine begins with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from handler.api.options import ChatRequest, CompletionRequest, Request
from handler.errors import ContextLengthExceeded, EmptyPrompt, InvalidValue, NoChatTemplate
from handler.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from handler.text.template import ChatTemplate  # jinja2: not needed for base models


class PromptEncoder:
    """Writes requests down as token ids.

    Args:
        tokenizer: The model's tokenizer.
        template: Its chat template; None for a base model.
        model_id: The model's name, for errors.
        context_length: How many tokens prompt and answer may have together.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: "ChatTemplate | None", model_id: str, context_length: int
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._model_id = model_id
        self._context_length = context_length

    def encode(self, request: Request) -> tuple[Sequence[int], int]:
        """Encode the request's prompt.

        Returns:
            The ids, and how many tokens the answer may have: as many as were asked for and fit the context.

        Raises:
            ApiError: The template, the tokenizer or the context refuses the prompt.
        """
        param = "messages" if isinstance(request, ChatRequest) else "prompt"
        ids = self._chat(request) if isinstance(request, ChatRequest) else self._completion(request)
        if not ids:
            raise EmptyPrompt(param)
        room = self._context_length - len(ids)
        if room < 1:
            raise ContextLengthExceeded(param, len(ids), self._context_length)
        wanted = request.options.max_tokens
        return ids, room if wanted is None else min(wanted, room)

    def _chat(self, request: ChatRequest) -> Sequence[int]:
        if self._template is None:
            raise NoChatTemplate(self._model_id)
        taken = sorted(self._template.reserved & request.template_variables.keys())
        if taken:
            expected = "an object without the variables that the request itself fills"
            raise InvalidValue("chat_template_kwargs", expected, taken[0])
        text = self._template.render(request.messages, request.template_variables)
        # The template writes the BOS itself; like Hugging Face's apply_chat_template, nothing is added to it.
        return self._tokenizer.encode(text, special=True, param="messages")

    def _completion(self, request: CompletionRequest) -> Sequence[int]:
        if isinstance(request.prompt, str):
            return self._tokenizer.encode_prompt(request.prompt)
        return request.prompt
