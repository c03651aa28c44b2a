"""The function that most people begin with: torch and transformers, the checkpoint out of S3 into memory.

It runs in an environment with torch, transformers and boto3, and loads at import, because that is Lambda's init phase.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
import safetensors.torch
import torch
from transformers import LlamaConfig, LlamaForCausalLM

s3 = boto3.client("s3")


def fetch(name: str) -> bytes:
    """Read one of the checkpoint's files."""
    key = f"{os.environ['MODEL_PREFIX']}/{name}"
    content: bytes = s3.get_object(Bucket=os.environ["MODEL_BUCKET"], Key=key)["Body"].read()
    return content


config = LlamaConfig(**json.loads(fetch("config.json")))
weights = safetensors.torch.load(fetch("model.safetensors"))
model = LlamaForCausalLM.from_pretrained(None, config=config, state_dict=weights)
del weights


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Continue `ids` by `max_tokens` tokens, greedily."""
    prompt, count = torch.tensor([event["ids"]]), event["max_tokens"]
    with torch.no_grad():
        ids = model.generate(prompt, max_new_tokens=count, min_new_tokens=count, do_sample=False)
    return {"ids": ids[0, prompt.shape[1] :].tolist()}
