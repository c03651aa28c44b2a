"""Train the demo model from nothing: `python -m demo.train`.

Every step generates its own examples from seed and step number, so a run can be stopped and resumed anywhere,
and the end can be moved: the learning rate is constant until the last `--decay` steps.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from demo.batches import MicroBatch, step_batches
from demo.corpus import examples
from demo.export import CHECKPOINT, STATE, config, export
from demo.optimizer import optimizers, rate_factor
from demo.tokenizer import learn

TOKENIZER_EXAMPLES = range(1_000_000, 1_030_000)  # the numbers of the examples that it's learnt from


@dataclass
class Progress:
    """What has been done so far; saved and resumed with the weights."""

    step: int = 0
    tokens: int = 0  # without padding
    seconds: float = 0.0  # of training, summed over resumed runs


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the demo model.")
    add = parser.add_argument
    add(
        "--steps",
        type=int,
        default=4000,
        help="the step at which the learning rate is zero (default: %(default)s)",
    )
    add("--decay", type=int, default=800, help="steps over which it falls to zero (default: %(default)s)")
    add("--minutes", type=float, default=float("inf"), help="stop and save after this long; resume later")
    add("--seed", type=int, default=0, help="of weights and examples (default: %(default)s)")
    add("--device", default="cpu", help="a torch device (default: %(default)s)")
    add("--resume", action="store_true", help="go on from the saved state")
    add("--save-every", type=int, default=100, help="steps between saved states (default: %(default)s)")
    add("--state", type=Path, default=STATE, help="folder of the training state (default: %(default)s)")
    add("--out", type=Path, default=CHECKPOINT, help="the checkpoint (default: %(default)s)")
    return parser.parse_args()


def loss_sum(model: LlamaForCausalLM, batch: MicroBatch, device: str) -> torch.Tensor:
    """Summed cross entropy of the answers' tokens; only their positions go through the output layer."""
    ids, learnt = torch.from_numpy(batch.ids).to(device), torch.from_numpy(batch.learnt).to(device)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state  # (B, T, H)
    logits = model.lm_head(hidden[:, :-1][learnt[:, 1:]]).float()  # (answer tokens, V)
    return cross_entropy(logits, ids[:, 1:][learnt[:, 1:]], reduction="sum")


def initialize(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """Start with branches that add nothing yet, so that tokens keep their identity through the layers."""
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    return model


class Trainer:
    """The model, its optimizers and its progress."""

    def __init__(self, tokenizer: Tokenizer, seed: int, device: str) -> None:
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, and nothing reads it
        self.model = initialize(LlamaForCausalLM(config())).to(device)
        self.parameters = list(self.model.parameters())
        # A thread per micro-batch waits once a step for the others; threads inside of operations wait at each, which
        # costs most of the time where other work shares the cores. The sums don't depend on who comes first.
        torch.set_num_threads(1)
        self.pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)) if device == "cpu" else 1)
        self.optimizers = optimizers(self.model)
        self.rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self.tokenizer, self.seed, self.device = tokenizer, seed, device
        self.progress = Progress()

    def step(self, factor: float) -> float:
        """One step at this fraction of the learning rates; returns the loss in nats per answer token."""
        batches = step_batches(self.tokenizer, self.seed, self.progress.step)
        answers = sum(int(batch.learnt[:, 1:].sum()) for batch in batches)
        parts = list(self.pool.map(lambda batch: self.gradients(batch, answers), batches))
        for index, parameter in enumerate(self.parameters):
            parameter.grad = torch.stack([gradients[index] for _, gradients in parts]).sum(dim=0)
        total = sum(loss for loss, _ in parts)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.progress.tokens += sum(int((batch.ids != 0).sum()) for batch in batches)
        return total

    def gradients(self, batch: MicroBatch, answers: int) -> tuple[float, tuple[torch.Tensor, ...]]:
        """A micro-batch's part of the loss, and of the gradient of every parameter."""
        loss = loss_sum(self.model, batch, self.device) / answers
        return loss.item(), torch.autograd.grad(loss, self.parameters)

    def save(self, folder: Path) -> None:
        """Save everything that resuming needs, by rename."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": vars(self.progress),
        }
        torch.save(state, folder / "state.pt.tmp")
        os.replace(folder / "state.pt.tmp", folder / "state.pt")

    def restore(self, folder: Path) -> None:
        """Go back to the saved state."""
        state = torch.load(folder / "state.pt", map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])


def train(trainer: Trainer, steps: int, decay: int, minutes: float) -> Iterator[dict[str, float]]:
    """Train up to `steps` or for `minutes`; yields one record per step."""
    begin = time.monotonic()
    while trainer.progress.step < steps and time.monotonic() - begin < minutes * 60:
        start = time.monotonic()
        loss = trainer.step(rate_factor(trainer.progress.step, steps, decay))
        trainer.progress.seconds += time.monotonic() - start
        progress = trainer.progress
        yield {
            "step": progress.step,
            "loss": round(loss, 4),
            "tokens": progress.tokens,
            "seconds": round(progress.seconds, 1),
        }


def prepare_tokenizer(folder: Path, seed: int, resume: bool) -> Tokenizer:
    """Learn the tokenizer, or take the one of the run that is resumed."""
    path = folder / "tokenizer.json"
    if not resume:
        learn(examples(seed, TOKENIZER_EXAMPLES.start, len(TOKENIZER_EXAMPLES))).save(str(path))
    return Tokenizer.from_file(str(path))


def open_log(path: Path, step: int) -> TextIO:
    """The loss log, cut after this step, so that a run that's resumed doesn't log a step twice."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    log = path.open("w", buffering=1, encoding="utf-8")
    log.writelines(lines[:step])
    return log


def main() -> None:
    """Train, log one JSON line per step, save now and then, export at the end."""
    opts = options()
    opts.state.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(prepare_tokenizer(opts.state, opts.seed, opts.resume), opts.seed, opts.device)
    if opts.resume:
        trainer.restore(opts.state)
    with open_log(opts.state / "loss.jsonl", trainer.progress.step) as log:
        for record in train(trainer, opts.steps, opts.decay, opts.minutes):
            log.write(json.dumps(record) + "\n")
            if record["step"] % opts.save_every == 0:
                trainer.save(opts.state)
    trainer.save(opts.state)
    export(trainer.model, trainer.tokenizer, opts.state / "loss.jsonl", opts.out)


if __name__ == "__main__":
    main()
