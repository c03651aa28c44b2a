import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handler.api.chat import parse_chat
from handler.artefact import load_artefact
from handler.engine.engine import EngineOptions
from handler.errors import ArtefactDamaged, TemplateInvalid, TokenizerError
from handler.settings import Settings
from handler.start import loading
from handler.start.loading import TEMPLATE, load_model, load_template, load_tokenizer
from handler.turns import stepped
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
    task = request.task(model.prompts)
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
    load_model(Settings(demo_artefact, verify=verify, populate=switch), threads=1)
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
    load_model(Settings(native, verify=verify, populate=switch), threads=1)
    assert read == [native / "model.safetensors"] * times


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
