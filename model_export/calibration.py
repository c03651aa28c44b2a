"""The text that calibration runs through the model: the package's own, or the user's .txt or .jsonl file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.typing import NDArray
from tokenizers import Tokenizer

from model_export.errors import CalibrationInvalid
from model_export.tokenizer import TokenizerFacts

DEFAULT_TEXT = Path(__file__).with_name("calibration.jsonl")
WINDOW = 256  # tokens that attend to each other
WINDOWS = 128
LEAST_WINDOWS = 8
LARGE_MODEL_WINDOWS = 32
WEIGHTS = 100_000_000_000  # times windows: what a large model's calibration may take


def load_windows(
    path: Path | None, tokenizer: Tokenizer, facts: TokenizerFacts, context: int, vocab_size: int
) -> NDArray[np.int64]:
    """Read a calibration text and cut it into windows.

    Args:
        path: a .txt file, or a .jsonl file with one `{"text": …}` or `{"messages": […]}` a line; None for the
            package's own.
        tokenizer: the model's.
        facts: its special tokens and chat template, in which messages are written down.
        context: of the artefact; windows are no longer.
        vocab_size: of the model.

    Returns:
        int64 `(windows, length)`, each begun with what the tokenizer puts before a text.

    Raises:
        CalibrationInvalid: the file can't be read, holds no text, or too little of it.
    """
    file = path or DEFAULT_TEXT
    length = min(WINDOW, context)
    body = length - len(facts.prefix_ids)
    ids: list[int] = []
    for text in _texts(file, facts):
        ids += tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) >= WINDOWS * body:
            break
    count = min(WINDOWS, len(ids) // body)
    if count < LEAST_WINDOWS:
        raise CalibrationInvalid(
            f"{file} gives {len(ids)} tokens; calibration needs at least {LEAST_WINDOWS * body}: give a longer text"
        )
    rows = np.array(ids[: count * body], dtype=np.int64).reshape(count, body)
    prefix = np.tile(np.array(facts.prefix_ids, dtype=np.int64), (count, 1))
    return np.minimum(np.hstack([prefix, rows]), vocab_size - 1)


def window_count(parameters: int) -> int:
    """How many windows a model of so many weights is calibrated with; more are better, and take longer."""
    return max(LARGE_MODEL_WINDOWS, min(WINDOWS, WEIGHTS // max(1, parameters)))


def _texts(path: Path, facts: TokenizerFacts) -> Iterator[str]:
    if path.suffix not in (".txt", ".jsonl"):
        raise CalibrationInvalid(f"--calibration {path}: expected a .txt or .jsonl file")
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CalibrationInvalid(f"--calibration {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationInvalid(f"--calibration {path} can't be read as UTF-8 text: {error}") from None
    if not content.strip():
        raise CalibrationInvalid(f"--calibration {path} is empty: give some text that the model will be used for")
    if path.suffix == ".txt":
        yield content
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            yield _entry(line, f"{path}, line {number}", facts)


def _entry(line: str, place: str, facts: TokenizerFacts) -> str:
    try:
        entry = json.loads(line)
        line.encode()
        json.dumps(entry, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise CalibrationInvalid(f"{place} is no JSON text: {error}") from None
    text, messages = (entry.get(key) if isinstance(entry, dict) else None for key in ("text", "messages"))
    if isinstance(text, str):
        return text + "\n\n"
    if isinstance(messages, list) and messages and all(map(_is_message, messages)):
        return _render(messages, facts)
    raise CalibrationInvalid(f'{place}: expected {{"text": "…"}} or {{"messages": [{{"role": …, "content": …}}, …]}}')


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))


def _render(messages: Sequence[Mapping[str, str]], facts: TokenizerFacts) -> str:
    """Write a chat down in the model's own form, or plainly if it has none or can't."""
    if facts.chat_template is not None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        try:
            return environment.from_string(facts.chat_template).render(messages=messages, **facts.special_tokens)
        except Exception:  # a template is a program; calibration needs some text, not this very form
            pass
    return "".join(f"{message['role']}: {message['content']}\n" for message in messages) + "\n"


def _refuse(message: str) -> None:
    raise TemplateError(message)
