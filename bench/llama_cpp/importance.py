"""llama.cpp's importance matrix: its way to quantize for the inputs that a text gives each layer."""

from __future__ import annotations

from math import prod

from model_export.calibration import WINDOW, load_windows, window_count
from model_export.options import ExportOptions
from model_export.source import Source
from model_export.tokenizer import load_tokenizer, read_facts
from model_export.weights import plan

# The same length of windows as ours, the chat form's special tokens as such, and the head measured too.
OPTIONS = ("-c", str(WINDOW), "--parse-special", "--process-output", "--no-ppl")


def calibration_text(source: Source) -> str:
    """The text that our own `--rounding calibrated` runs through a model by default, as the model gets it.

    Raises:
        ExportError: the checkpoint's config or tokenizer is invalid.
    """
    (config, _), tokenizer = source.decoder(), load_tokenizer(source.directory)
    facts = read_facts(source.directory, config, tokenizer)
    parameters = sum(prod(weight.rows.shape) for weight in plan(config, ExportOptions(), source.checkpoint(config)))
    ids = load_windows(None, tokenizer, facts, config.max_position_embeddings, config.vocab_size)
    ids = ids[: window_count(parameters)]
    rows = ids[:, len(facts.prefix_ids) :].tolist()
    return "".join(tokenizer.decode(row, skip_special_tokens=False) for row in rows)
