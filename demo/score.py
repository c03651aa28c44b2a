"""Score a checkpoint in float, greedily, on the held-out items: `python -m demo.score`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from demo.evaluation import SKILLS, Item, items, score
from demo.export import CHECKPOINT

BATCH = 32  # items generated together


def answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, batch: list[Item]) -> list[str]:
    """The model's greedy answers; shorter prompts are padded on the left."""
    prompts = [
        tokenizer.apply_chat_template(item.messages, tokenize=False, add_generation_prompt=True) for item in batch
    ]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    longest = max(len(tokenizer(item.expected).input_ids) for item in batch)
    generated = model.generate(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        max_new_tokens=longest + 8,
        do_sample=False,
    )
    return tokenizer.batch_decode(generated[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)


def score_skill(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, wanted: list[Item], failures: bool
) -> float:
    """The share of items answered exactly; `failures` prints the others."""
    right = 0
    by_length = sorted(wanted, key=lambda item: sum(len(message["content"]) for message in item.messages))
    for start in range(0, len(by_length), BATCH):
        batch = by_length[start : start + BATCH]
        for item, answer in zip(batch, answers(model, tokenizer, batch), strict=True):
            right += score(answer, item.expected)
            if failures and not score(answer, item.expected):
                last = item.messages[-1]["content"]
                print(json.dumps({"asked": last, "expected": item.expected, "answer": answer}, ensure_ascii=False))
    return right / len(wanted)


def main() -> None:
    """Print one JSON line with the score of every skill."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="default: %(default)s")
    parser.add_argument("--count", type=int, default=200, help="items per skill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the items (default: %(default)s)")
    parser.add_argument("--skills", nargs="+", default=list(SKILLS), choices=SKILLS, metavar="SKILL")
    parser.add_argument("--failures", action="store_true", help="print wrong answers, one JSON line each")
    options = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(options.checkpoint, torch_dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.checkpoint)
    scores = {
        skill: score_skill(model, tokenizer, items(skill, options.count, options.seed), options.failures)
        for skill in options.skills
    }
    print(json.dumps({"count": options.count, "seed": options.seed, "scores": scores}))


if __name__ == "__main__":
    main()
