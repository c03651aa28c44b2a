"""Members of other servers' APIs that would change the answer and aren't done here: refused by name, in one place.

Whoever asks for a thing and gets a plain answer is told nothing; so these aren't ignored as unknown members are. Each
has values that ask for nothing, which clients send as their defaults.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from handler.api.members import Members


@dataclass(frozen=True)
class Refused:
    """A member.

    Attributes:
        name: The member's.
        reason: Why it is refused, and what to use instead.
        neutral: Values beside null that ask for nothing.
    """

    name: str
    reason: str
    neutral: tuple[object, ...] = ()


_BEAMS = "there is no beam search; use n"
_SAMPLER = "there is no such sampler; use temperature, top_p, top_k or min_p"
_WINDOW = "repetitions are counted over the whole text; use repetition_penalty, presence_penalty or frequency_penalty"
_MAX_TOKENS = "use max_tokens"
_ADAPTER = "one model is served, without adapters"
_GRAMMAR = "use response_format, guided_regex or guided_grammar"
_PROBABILITIES = "use logprobs"

# Of any endpoint that generates text.
TEXT = (
    Refused("use_beam_search", _BEAMS, (False,)),
    Refused("num_beams", _BEAMS, (1,)),
    Refused("length_penalty", _BEAMS, (1,)),
    Refused("early_stopping", _BEAMS, (False,)),
    Refused("do_sample", "use temperature = 0 for the likeliest tokens", (True,)),
    Refused("typical_p", _SAMPLER, (1,)),
    Refused("typ_p", _SAMPLER, (1,)),
    Refused("tfs_z", _SAMPLER, (1,)),
    Refused("top_a", _SAMPLER, (0,)),
    Refused("top_n_sigma", _SAMPLER, (-1, 0)),
    Refused("min_keep", _SAMPLER, (0, 1)),
    Refused("epsilon_cutoff", _SAMPLER, (0,)),
    Refused("eta_cutoff", _SAMPLER, (0,)),
    Refused("mirostat", _SAMPLER, (0,)),
    Refused("xtc_probability", _SAMPLER, (0,)),
    Refused("dynatemp_range", _SAMPLER, (0,)),
    Refused("smoothing_factor", _SAMPLER, (0,)),
    Refused("samplers", "samplers have a fixed order", ([],)),
    Refused("repeat_penalty", "use repetition_penalty, which counts the whole text", (1,)),
    Refused("repeat_last_n", _WINDOW, (-1,)),
    Refused("penalty_last_n", _WINDOW, (-1,)),
    Refused("no_repeat_ngram_size", _WINDOW, (0,)),
    Refused("dry_multiplier", _WINDOW, (0,)),
    Refused("bad_words", "texts can't be banned; use logit_bias", ([],)),
    Refused("allowed_token_ids", "use logit_bias or guided_choice", ([],)),
    Refused("logits_processors", "a request can't bring code", ([],)),
    Refused("custom_logit_processor", "a request can't bring code"),
    Refused("guidance_scale", "there is no second prompt to steer away from", (0, 1)),
    Refused("negative_prompt", "there is no second prompt to steer away from", ("",)),
    Refused("watermark", "texts can't be marked", (False,)),
    Refused("random_seed", "use seed"),
    Refused("n_predict", _MAX_TOKENS, (-1,)),
    Refused("max_new_tokens", _MAX_TOKENS),
    Refused("max_length", _MAX_TOKENS),
    Refused("t_max_predict_ms", "an answer's time isn't bounded by its request; use max_tokens", (0, -1)),
    Refused("n_indent", "lines aren't measured; use stop", (0,)),
    Refused("stop_regex", "use stop", ("", [])),
    Refused("no_stop_trim", "use include_stop_str_in_output", (False,)),
    Refused("regex", _GRAMMAR),
    Refused("ebnf", _GRAMMAR),
    Refused("structural_tag", _GRAMMAR),
    Refused("guidance", _GRAMMAR),
    Refused("n_probs", _PROBABILITIES, (0,)),
    Refused("post_sampling_probs", "log-probabilities are the model's own, before sampling", (False,)),
    Refused("prompt_logprobs", "use echo and logprobs of /v1/completions", (False,)),
    Refused("truncate_prompt_tokens", "prompts aren't cut; shorten it"),
    Refused("truncate", "prompts aren't cut; shorten it", (False,)),
    Refused("prompt_embeds", "prompts are texts or token ids"),
    Refused("image_data", "only text is supported", ([],)),
    Refused("multi_modal_data", "only text is supported"),
    Refused("lora", _ADAPTER, ([],)),
    Refused("lora_path", _ADAPTER),
    Refused("adapter_id", _ADAPTER),
    Refused("session_params", "nothing is stored"),
    Refused("options", "this is not Ollama's API: its options are members of the body here", ({},)),
    Refused("format", "this is not Ollama's API; use response_format", ("",)),
)

# Of chats.
CHAT = (
    Refused("audio", "audio is not supported"),
    Refused("modalities", "only text is supported", (["text"],)),
    Refused("web_search_options", "the web can't be searched"),
    Refused("verbosity", "the model has no such setting; ask for it in a message", ("medium",)),
    Refused("thinking", "use chat_template_kwargs or enable_thinking"),
    Refused("reasoning", "use reasoning_effort"),
    Refused("thinking_budget", "thoughts aren't measured apart; use max_tokens", (-1,)),
    Refused("thinking_token_budget", "thoughts aren't measured apart; use max_tokens", (-1,)),
    Refused("chat_template", "the checkpoint's own template is used; see chat_template_kwargs"),
    Refused("documents", "put them into a message", ([],)),
    Refused("echo", "only prompts of /v1/completions can be echoed", (False,)),
    Refused("best_of", "use n", (1,)),
    Refused("max_output_tokens", "use max_completion_tokens"),
    Refused("moderation", "nothing is moderated here"),
)

# Of /v1/completions.
COMPLETION = (
    Refused("suffix", "text can't be inserted before a suffix", ("",)),
    Refused("input_prefix", "text can't be inserted before a suffix", ("",)),
    Refused("input_suffix", "text can't be inserted before a suffix", ("",)),
)


def refuse(members: Members, refused: Iterable[Refused]) -> None:
    """Refuse members that ask for what isn't done.

    Raises:
        UnsupportedParameter: One asks for something.
    """
    for member in refused:
        members.refuse(member.name, member.reason, *member.neutral)
