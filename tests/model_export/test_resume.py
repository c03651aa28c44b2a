from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from model_export.artefact import state_directory
from model_export.calibrate import Calibrator
from model_export.parts import Part
from model_export.resume import HIDDEN, PartStore
from tests.model_export.helpers import export_to

NUMBERS = np.arange(4, dtype=np.float32)


@pytest.fixture
def stopped(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of an export that was interrupted after its first layer."""
    out, save = tmp_path / "out", PartStore.save

    def stop(self: PartStore, *arguments: object) -> None:
        save(self, *arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PartStore, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            export_to(checkpoint, out, rounding="calibrated")
    assert not out.exists()
    assert state_directory(out).is_dir()
    return out


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the layers that are quantized from now on."""
    names: list[str] = []
    quantize = Calibrator._quantize_layer

    def note(self: Calibrator, layer: Sequence[Part]) -> object:
        names.append(".".join(layer[0].name.split(".")[:3]))
        return quantize(self, layer)

    monkeypatch.setattr(Calibrator, "_quantize_layer", note)
    return names


def test_an_interrupted_export_goes_on_and_gives_the_same_bytes(
    stopped: Path, checkpoint: Path, tmp_path: Path, computed: list[str]
) -> None:
    export_to(checkpoint, stopped, rounding="calibrated")
    assert computed == ["model.layers.1"]
    assert not state_directory(stopped).exists()
    whole = export_to(checkpoint, tmp_path / "whole", rounding="calibrated")
    assert (stopped / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()


def test_other_options_begin_anew(stopped: Path, checkpoint: Path, computed: list[str]) -> None:
    export_to(checkpoint, stopped, rounding="calibrated", block_size=16)
    assert len(computed) == 2


def test_another_checkpoint_begins_anew(stopped: Path, checkpoints: Path, computed: list[str]) -> None:
    export_to(checkpoints / "llama-gqa2-bf16", stopped, rounding="calibrated")
    assert computed[0] == "model.layers.0"


@pytest.mark.parametrize("name", [HIDDEN, "part-0.npz"])
@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b"nonsense", lambda b: b[:-40], lambda b: b[:700] + b"\xff" * 8 + b[708:]]
)
def test_a_damaged_state_begins_anew(
    stopped: Path, checkpoint: Path, computed: list[str], name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = state_directory(stopped) / name
    path.write_bytes(damage(path.read_bytes()))
    export_to(checkpoint, stopped, rounding="calibrated")
    assert len(computed) == 2


def test_an_export_without_calibration_clears_it_away(stopped: Path, checkpoint: Path) -> None:
    export_to(checkpoint, stopped)
    assert not state_directory(stopped).exists()


def test_parts_come_back_as_they_were(tmp_path: Path) -> None:
    PartStore(tmp_path / "state", "key").save(0, {"a": NUMBERS}, NUMBERS + 1)
    store = PartStore(tmp_path / "state", "key")
    assert store.finished == 1
    np.testing.assert_array_equal(store.tensors(0, ["a"])["a"], NUMBERS)
    np.testing.assert_array_equal(store.hidden(), NUMBERS + 1)


def test_another_key_finds_nothing(tmp_path: Path) -> None:
    PartStore(tmp_path / "state", "key").save(0, {"a": NUMBERS}, NUMBERS)
    assert PartStore(tmp_path / "state", "other").finished == 0


def test_a_file_in_the_place_of_the_state_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("mine")
    assert PartStore(tmp_path / "state", "key").finished == 0
    assert (tmp_path / "state").is_dir()
