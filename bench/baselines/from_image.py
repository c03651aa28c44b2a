"""The same with the checkpoint baked into the container image, without any tuning.

It runs in an environment with torch and transformers, and loads at import, because that is Lambda's init phase.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained(os.environ["MODEL_DIR"])


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Continue `ids` by `max_tokens` tokens, greedily."""
    prompt, count = torch.tensor([event["ids"]]), event["max_tokens"]
    with torch.no_grad():
        ids = model.generate(prompt, max_new_tokens=count, min_new_tokens=count, do_sample=False)
    return {"ids": ids[0, prompt.shape[1] :].tolist()}
