"""SmolLM2 and Llama 3.1's chat template against transformers; `make test-real` fetches both and runs this."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from handler.text.template import ChatTemplate
from model_export.decoder import expected_tensors
from model_export.export import export
from model_export.options import ExportOptions
from model_export.reading import read_artefact
from model_export.running import run_graph
from model_export.source import resolve
from tests.conftest import ROOT
from tests.real.conftest import fetched

REAL = ROOT / "build" / "real"


def test_logits_are_those_of_transformers_with_the_dequantized_weights(tmp_path: Path) -> None:
    source = resolve(str(fetched(REAL / "SmolLM2-135M-Instruct.Q4_1.gguf")), None)
    config, _ = source.decoder()
    checkpoint = source.checkpoint(config)
    raw = json.loads((source.directory / "config.json").read_text(encoding="utf-8"))
    model = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in raw.items() if v is not None}))
    weights = {name: torch.from_numpy(checkpoint.read(name).copy()) for name in expected_tensors(config)}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    model.tie_weights()
    ids = np.random.default_rng(0).integers(0, config.vocab_size, 64)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(ids[None])).logits[0].numpy()
    export(source, tmp_path / "floats", ExportOptions(quantization="none"))
    found = run_graph(read_artefact(tmp_path / "floats"), ids)
    assert np.abs(found - expected).max() / np.abs(expected).max() < 1e-4


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Say what the weather is, “there”",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Which"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2}}}
CHATS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hi <b> & you?"}],
    [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Weather in Zürich?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Zürich?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": '{"sky": "grey"}'},
        {"role": "assistant", "content": "Grey."},
        {"role": "user", "content": "And tomorrow?"},
    ],
]


@pytest.mark.parametrize("tools", [None, [WEATHER]])
@pytest.mark.parametrize("messages", CHATS)
def test_the_template_is_rendered_as_transformers_does(messages: list[dict[str, Any]], tools: Any) -> None:
    directory = fetched(REAL / "llama-3.1")
    theirs = AutoTokenizer.from_pretrained(directory)
    source = theirs.chat_template
    assert isinstance(source, str)
    today = {"date_string": datetime.now().strftime("%d %b %Y")}
    expected = theirs.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True, **today)
    special = {"bos_token": theirs.bos_token, "eos_token": theirs.eos_token}
    environment = ChatTemplate(source, special)._template  # the text itself; how tools get there is the handler's
    values = {"messages": messages, "tools": tools, "add_generation_prompt": True, **special, **today}
    assert environment.render(values) == expected
