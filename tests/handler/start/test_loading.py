from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handler import prefixing
from handler.api.chat import parse_chat
from handler.api.completions import parse_completion
from handler.artefact import load_artefact
from handler.engine.engine import EngineOptions
from handler.errors import ArtefactDamaged, ArtefactVersion, PrefixMismatch, TemplateInvalid, TokenizerError
from handler.settings import Settings
from handler.start import loading
from handler.start.loading import TEMPLATE, load_model, load_template, load_tokenizer
from handler.turns import stepped
from model_export.artefact import write_manifest
from model_export.convert import convert
from tests.conftest import ROOT
from tests.kernels.models import needs_library


def copy(artefact: Path, target: Path) -> Path:
    shutil.copytree(artefact, target)
    return target


def test_a_model_makes_a_token(demo_artefact: Path) -> None:
    model, parts = load_model(Settings(demo_artefact), threads=1)
    request = parse_chat(
        {"model": model.served.model_id, "messages": [{"role": "user", "content": "hi"}]}, model.served
    )
    task = request.tasks(model.prompts)[0]
    tokens = model.generate(task.prompt_ids, task.sampling, task.max_tokens, (), model.new_cancellation())
    assert 0 <= next(stepped(tokens, model.step)).id < model.served.vocab_size
    assert {"verify_ms", "tokenizer_ms", "template_ms", "session_ms", "warm_up_ms"} <= parts.keys()


def test_the_engine_works_as_the_settings_say(demo_artefact: Path) -> None:
    settings = Settings(demo_artefact, slots=3, prefix_cache=False, lookup=False, prefill_chunk=17)
    model, _ = load_model(settings, threads=1)
    engine: Any = model.step.__self__  # type: ignore[attr-defined]
    assert model.slots == engine.slots.count == 3
    assert engine.options == EngineOptions(17, 3, keep_prefixes=False, lookup=False)


@pytest.mark.parametrize(("verify", "switch", "times"), [("quick", True, 1), ("quick", False, 0), ("full", True, 0)])
def test_weights_that_nobody_has_read_are_read_ahead(
    verify: Any, switch: bool, times: int, demo_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(loading, "read_ahead", read.append)
    ahead = "provisioned-concurrency"  # so that it is waited for
    load_model(Settings(demo_artefact, verify=verify, populate=switch, initialization=ahead), threads=1)
    assert read == [demo_artefact / "model.safetensors"] * times


@pytest.fixture(scope="module")
def native(demo_artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("native") / "artefact"
    convert(demo_artefact, directory, "native", "int8")
    return directory


@needs_library
@pytest.mark.parametrize(("verify", "switch", "times"), [("quick", True, 1), ("quick", False, 0), ("full", True, 1)])
def test_native_weights_are_mapped_and_in_memory_when_the_model_is_loaded(
    verify: Any, switch: bool, times: int, native: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(loading, "populate", lambda weights, function: read.append(weights.path))
    ahead = "provisioned-concurrency"  # so that it is waited for
    load_model(Settings(native, verify=verify, populate=switch, initialization=ahead), threads=1)
    assert read == [native / "model.safetensors"] * times


@needs_library
@pytest.mark.parametrize("kind", [None, "on-demand", "provisioned-concurrency", "snap-start"])
def test_only_a_start_that_no_request_waits_for_waits_for_the_weights(
    kind: str | None, native: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, read = threading.Event(), threading.Event()

    def populate(*_: object) -> None:
        if kind in (None, "on-demand"):
            assert loaded.wait(60)
        read.set()

    monkeypatch.setattr(loading, "populate", populate)
    load_model(Settings(native, verify="quick", initialization=kind), threads=1)
    assert read.is_set() == (kind not in (None, "on-demand"))
    loaded.set()
    assert read.wait(60)


@pytest.fixture
def prefixed(demo_artefact: Path, tmp_path: Path) -> Path:
    """The demo's artefact with a prefix."""
    directory = copy(demo_artefact, tmp_path / "prefixed")
    (tmp_path / "story.txt").write_text("Once upon a time there was a little girl")
    assert prefixing.main([str(directory), str(tmp_path / "story.txt")], {}) == 0
    write_manifest(directory, {})
    return directory


def test_a_prompt_begins_with_a_prefix(prefixed: Path) -> None:
    model, _ = load_model(Settings(prefixed), threads=1)
    body = {"model": model.served.model_id, "prompt": "Once upon a time there was a little girl and a dog"}
    task = parse_completion(body, model.served).tasks(model.prompts)[0]
    tokens = model.generate(task.prompt_ids, task.sampling, 1, (), model.new_cancellation())
    assert model.prefixes == (next(stepped(tokens, model.step)).cached_tokens,)
    assert model.prefixes[0] > 5


def test_without_the_prefix_cache_no_prefix_is_even_looked_at(prefixed: Path) -> None:
    (prefixed / "prefix-1.kv").write_bytes(b"x")
    write_manifest(prefixed, {})
    assert load_model(Settings(prefixed, prefix_cache=False), threads=1)[0].prefixes == ()


def test_a_prefix_that_does_not_fit_ends_the_start(prefixed: Path) -> None:
    (prefixed / "model.onnx").write_bytes(
        (prefixed / "model.onnx").read_bytes() + b"\x72\0"
    )  # another graph, by its hash
    write_manifest(prefixed, {})
    with pytest.raises(PrefixMismatch, match=r"prefix-1\.kv is of another artefact: its cache_key is"):
        load_model(Settings(prefixed), threads=1)


@pytest.mark.parametrize(
    ("verify", "switch", "kept", "times"),
    [("quick", True, True, 1), ("quick", True, False, 0), ("quick", False, True, 0), ("full", True, True, 0)],
)
def test_prefixes_that_nobody_has_read_are_read_ahead_behind_the_weights(
    verify: Any, switch: bool, kept: bool, times: int, prefixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(loading, "read_ahead", lambda path: read.append(path.name))
    ahead = "provisioned-concurrency"  # so that it is waited for
    settings = Settings(prefixed, verify=verify, populate=switch, prefix_cache=kept, initialization=ahead)
    load_model(settings, threads=1)
    assert read[1:] == ["prefix-1.kv"] * times


@needs_library
def test_damaged_weights_are_one_error(native: Path, tmp_path: Path) -> None:
    directory = copy(native, tmp_path / "damaged")
    with (directory / "model.safetensors").open("r+b") as file:
        file.seek(8)
        file.write(b"no JSON")
    with pytest.raises(ArtefactDamaged, match=r"model\.safetensors can't be mapped"):
        load_model(Settings(directory, verify="quick"), threads=1)


def test_the_thread_that_imports_kitoken_lives_as_long_as_the_process(demo_artefact: Path) -> None:
    script = f"""
import sys, threading
from pathlib import Path

threads = []
def note(name, args):
    if name == "import" and args[0] == "kitoken":
        threads.append(threading.current_thread())

sys.addaudithook(note)

from handler.start.loading import load_model
from handler.settings import Settings

load_model(Settings(Path({str(demo_artefact)!r})), threads=1)
assert threads == [threading.main_thread()], threads
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_a_model_without_a_template_loads(demo_artefact: Path, tmp_path: Path) -> None:
    directory = copy(demo_artefact, tmp_path / "base")
    (directory / TEMPLATE).unlink()
    assert load_template(replace(load_artefact(demo_artefact, "quick"), directory=directory)) is None


def test_a_template_that_is_none_is_refused(demo_artefact: Path, tmp_path: Path) -> None:
    directory = copy(demo_artefact, tmp_path / "broken")
    (directory / TEMPLATE).write_bytes(b"\xff")
    with pytest.raises(TemplateInvalid):
        load_template(replace(load_artefact(demo_artefact, "quick"), directory=directory))


def test_a_tokenizer_that_is_none_is_refused(demo_artefact: Path, tmp_path: Path) -> None:
    directory = copy(demo_artefact, tmp_path / "broken")
    (directory / "tokenizer.kit").write_bytes(b"x")
    with pytest.raises(TokenizerError):
        load_tokenizer(replace(load_artefact(demo_artefact, "quick"), directory=directory))


def test_a_template_has_the_formats_that_the_artefact_says(demo_artefact: Path) -> None:
    artefact = replace(load_artefact(demo_artefact, "quick"), tool_format="mistral", reasoning_format="think")
    template = load_template(artefact)
    assert template is not None
    assert (template.formats.tools, template.formats.reasoning) == ("mistral", "think")


def test_an_artefact_that_does_not_say_is_told_by_its_template(demo_artefact: Path, tmp_path: Path) -> None:
    artefact = load_artefact(demo_artefact, "quick")
    (tmp_path / TEMPLATE).write_text("{{ tools }}[TOOL_CALLS]")
    template = load_template(replace(artefact, directory=tmp_path, tool_format=None, reasoning_format=None))
    assert template is not None
    assert (template.formats.tools, template.formats.reasoning) == ("mistral", "none")


def test_a_format_that_this_handler_does_not_know_is_refused_by_name(demo_artefact: Path) -> None:
    artefact = load_artefact(demo_artefact, "quick")
    for name in ("tool_format", "reasoning_format"):
        with pytest.raises(ArtefactVersion, match=f"{name} 'smoke'"):
            load_template(replace(artefact, **{name: "smoke"}))  # type: ignore[arg-type]
