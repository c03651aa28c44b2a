"""The checkpoint: a directory as transformers writes it, in bfloat16, with tokenizer and chat template.

Run `python -m demo.export` to write the weights of a training state; `demo.train` does it at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from demo.batches import CONTEXT
from demo.tokenizer import BEGIN, END, END_OF_TEXT, IDS, PAD, VOCAB_SIZE

CHECKPOINT = Path(__file__).with_name("checkpoint")
STATE = Path(tempfile.gettempdir()) / "firebrick-demo"

CHAT_TEMPLATE = """\
{{- bos_token }}
{%- set announced = namespace(text='') %}
{%- if tools %}
    {%- set announced.text = 'Tools:' %}
    {%- for tool in tools %}
        {%- set function = tool['function'] if tool['function'] is defined else tool %}
        {%- set announced.text = announced.text ~ '\\n{"name": ' ~ function['name'] | tojson %}
        {%- if function['description'] %}
            {%- set announced.text = announced.text ~ ', "description": ' ~ function['description'] | tojson %}
        {%- endif %}
        {%- if function['parameters'] %}
            {%- set announced.text = announced.text ~ ', "parameters": ' ~ function['parameters'] | tojson %}
        {%- endif %}
        {%- set announced.text = announced.text ~ '}' %}
    {%- endfor %}
    {%- set announced.text = announced.text ~ '\\nWrite a call as <tool_call>.' %}
{%- endif %}
{%- if json_schema is defined and json_schema is not none %}
    {%- set announced.text = announced.text ~ ('\\n' if announced.text else '') %}
    {%- set announced.text = announced.text ~ 'Answer as JSON by this schema: ' ~ json_schema | tojson %}
{%- endif %}
{%- if announced.text and not (messages and messages[0]['role'] == 'system') %}
    {{- '<|system|>' ~ announced.text ~ '<|end|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if message['role'] not in ['system', 'user', 'assistant', 'tool'] %}
        {{- raise_exception('Unknown role: ' ~ message['role']) }}
    {%- endif %}
    {%- set text = message['content'] | trim if message['content'] else '' %}
    {{- '<|' ~ message['role'] ~ '|>' ~ text }}
    {%- if announced.text and loop.first and message['role'] == 'system' %}
        {{- ('\\n' if text else '') ~ announced.text }}
    {%- endif %}
    {%- if message['role'] == 'assistant' and message['tool_calls'] %}
        {%- for call in message['tool_calls'] %}
            {%- set function = call['function'] if call['function'] is defined else call %}
            {%- set arguments = function['arguments'] %}
            {%- set arguments = arguments if arguments is string else (arguments or {}) | tojson %}
            {{- ('\\n' if text or not loop.first else '') ~ '<tool_call>\\n{"name": ' ~ function['name'] | tojson }}
            {{- ', "arguments": ' ~ arguments ~ '}\\n</tool_call>' }}
        {%- endfor %}
    {%- endif %}
    {{- '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>' }}
{%- endif %}
"""


def config() -> LlamaConfig:
    """The shape of the model: 3.5 million parameters, a seventh of them in the embedding."""
    return LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        rope_theta=10000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=IDS[BEGIN],
        eos_token_id=[IDS[END], IDS[END_OF_TEXT]],
        pad_token_id=IDS[PAD],
        architectures=["LlamaForCausalLM"],
    )


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
    }


def _weights(model: LlamaForCausalLM, out: Path) -> None:
    tensors = {name: p.detach().to("cpu", torch.bfloat16).contiguous() for name, p in model.named_parameters()}
    _replace(out / "model.safetensors", save(tensors, metadata={"format": "pt"}))


def export(model: LlamaForCausalLM, tokenizer: Tokenizer, log: Path, out: Path) -> None:
    """Write the checkpoint and every tenth line of the loss log, each file by rename; a README.md stays."""
    out.mkdir(parents=True, exist_ok=True)
    settings = {**config().to_diff_dict(), "architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"}
    settings |= {"head_dim": 64, "tie_word_embeddings": True, "rope_theta": 10000.0}
    settings.pop("dtype", None)
    ids = {"bos_token_id": IDS[BEGIN], "eos_token_id": [IDS[END], IDS[END_OF_TEXT]], "pad_token_id": IDS[PAD]}
    _replace(out / "config.json", _json(settings))
    _replace(out / "generation_config.json", _json({**ids, "do_sample": False, "max_new_tokens": 256}))
    _replace(out / "tokenizer_config.json", _json(_tokenizer_config()))
    _replace(out / "special_tokens_map.json", _json({"bos_token": BEGIN, "eos_token": END, "pad_token": PAD}))
    _replace(out / "chat_template.jinja", CHAT_TEMPLATE.encode())
    _replace(out / "tokenizer.json", tokenizer.to_str(pretty=True).encode())
    _replace(out / "loss.jsonl", b"".join(log.read_bytes().splitlines(keepends=True)[9::10]))
    _weights(model, out)


def main() -> None:
    """Export the weights of the last saved training state."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--state", type=Path, default=STATE, help="where demo.train keeps its state (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=CHECKPOINT, help="the checkpoint (default: %(default)s)")
    options = parser.parse_args()
    model = LlamaForCausalLM(config())
    model.load_state_dict(torch.load(options.state / "state.pt", map_location="cpu")["model"])
    tokenizer = Tokenizer.from_file(str(options.state / "tokenizer.json"))
    export(model, tokenizer, options.state / "loss.jsonl", options.out)


if __name__ == "__main__":
    main()
