"""SmolLM2-135M-Instruct, from a GGUF file that others made: logits and text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.logits import Judged
from model_export.calibration import load_windows
from model_export.reading import read_artefact
from model_export.source import resolve
from model_export.tokenizer import load_tokenizer, read_facts
from model_export.verify import verify_logits
from tests.real.conftest import unquantized
from tests.real.greedy import hold_against_llama_cpp

QUESTIONS = (
    *("What is the capital of France?", "Why is the sky blue?", "Write a haiku about the sea.", "What is gravity?"),
    *("Give me three tips for better sleep.", "Translate to French: Good morning.", "Who wrote Hamlet?"),
    *("Explain a computer program to a child.", "Write an email to thank Anna.", "What is 7 times 8?"),
    *("List the planets.", "What is photosynthesis?", "Write a Python function that adds two numbers.", "Hi!"),
    *("What does a bee eat?", "Name a famous painter.", "How do I boil an egg?", "Tell me a joke."),
    *("What is the largest ocean?", "Describe a forest in autumn."),
)


@pytest.fixture(scope="module")
def floats(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its artefact, unquantized."""
    return unquantized(smollm2, tmp_path_factory.mktemp("smollm2") / "floats")


def prompts(smollm2: Path) -> list[list[int]]:
    """The questions in the model's chat form."""
    tokenizer = load_tokenizer(resolve(str(smollm2), None).directory)
    form = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    return [tokenizer.encode(form.format(question), add_special_tokens=False).ids for question in QUESTIONS]


def test_it_is_what_it_says(floats: Path) -> None:
    found = json.loads((floats / "firebrick.json").read_text())
    assert found["tokenizer"]["eos_token_ids"] == [0, 2]
    assert (found["context_length"], found["vocab_size"], found["num_hidden_layers"]) == (8192, 49152, 30)
    assert "<|im_start|>assistant" in (floats / "chat_template.jinja").read_text()


def test_logits_are_those_of_a_plain_computation_with_its_weights(smollm2: Path, floats: Path) -> None:
    report = verify_logits(read_artefact(floats), str(smollm2), None)
    assert report.model_error < 1e-4


def test_it_knows_a_capital(smollm2: Path, floats: Path) -> None:
    judged = Judged(floats, 2)
    text = load_tokenizer(floats).decode(judged.greedy(prompts(smollm2)[0], 16))
    assert text == "The capital of France is Paris."


def test_greedy_text_is_llama_cpp_s(
    smollm2: Path, floats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_against_llama_cpp(smollm2, floats, prompts(smollm2), tmp_path, capsys)


def test_calibration_has_text_enough_in_its_form(smollm2: Path) -> None:
    source = resolve(str(smollm2), None)
    config, _ = source.decoder()
    tokenizer = load_tokenizer(source.directory)
    facts = read_facts(source.directory, config, tokenizer)
    text = load_windows(None, tokenizer, facts, 1024, config.vocab_size)
    assert (text == tokenizer.token_to_id("<|im_start|>")).any()
