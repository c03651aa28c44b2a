"""`python -m demo.heldout FILE`: held-out dialogues in the demo model's own form, for measuring perplexity on."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

from demo.evaluation import SKILLS, items

PER_SKILL = 40
SEED = 7


def text() -> str:
    """All dialogues, in random order, each as the chat template writes it."""
    dialogues = []
    for skill in SKILLS:
        for item in items(skill, PER_SKILL, SEED):
            messages = [*item.messages, {"role": "assistant", "content": item.expected}]
            turns = "".join(f"<|{message['role']}|>{message['content'].strip()}<|end|>" for message in messages)
            dialogues.append(f"<|begin_of_text|>{turns}")
    Random(SEED).shuffle(dialogues)
    return "".join(dialogues)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
