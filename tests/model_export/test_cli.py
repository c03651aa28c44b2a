from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_export import export, inspect, verify
from model_export.__main__ import main
from tests.conftest import ROOT


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_export", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def test_an_export_describes_what_it_made(checkpoint: Path, tmp_path: Path) -> None:
    done = run(checkpoint, "--out", tmp_path / "out", "--name", "mine")
    assert done.returncode == 0
    assert done.stdout.startswith("mine (llama), artefact format 2\n")
    assert done.stderr.startswith("100%")


def test_every_option_arrives(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = "--block-size 64 --head-bits 4 --activations float32 --context 100 --threads 2 --rounding nearest"
    assert main([str(checkpoint), "--out", str(tmp_path / "out"), *chosen.split()]) == 0
    found = json.loads((tmp_path / "out" / "firebrick.json").read_text())
    quantization = found["quantization"]
    assert (quantization["block_size"], quantization["head_bits"], quantization["activations"]) == (64, 4, "float32")
    assert (found["context_length"], quantization["rounding"]) == (100, "nearest")
    assert "blocks of 64" in capsys.readouterr().out


@pytest.mark.parametrize(("chosen", "dtype"), [("--kernels native", "int8"), ("--kv-cache f16", "float16")])
def test_native_kernels_are_described(
    chosen: str, dtype: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint), "--out", str(tmp_path / "out"), "--kernels", "native", *chosen.split()]
    assert main(arguments) == 0
    found = json.loads((tmp_path / "out" / "firebrick.json").read_text())
    assert (found["kernels"], found["kv_cache_dtype"]) == ("native", dtype)
    captured = capsys.readouterr()
    assert "kernels    native" in captured.out
    assert "stock kernels" not in captured.err


def test_stock_kernels_by_default_are_explained(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIREBRICK_KERNELS", str(tmp_path / "none.so"))
    assert main([str(checkpoint), "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "firebrick.json").read_text())["kernels"] == "stock"
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"stock kernels, because {tmp_path / 'none.so'} is missing")


def test_help_needs_no_numpy() -> None:
    code = (
        "import sys\n"
        "from model_export.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'onnx', 'tokenizers', 'huggingface_hub'} & set(sys.modules)\n"
    )
    assert "--head-bits" in subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-model", "--out", "OUT"], "neither a directory nor a GGUF file nor a hub id"),
        (["owner/name", "--out", "OUT"], "not in the local cache"),
        (["demo", "--out", "OUT", "--threads", "0"], "--threads 0"),
        (["demo", "--out", "OUT", "--context", "1"], "--context 1"),
        (["demo", "--out", "OUT", "--name", "a b"], "--name 'a b'"),
        (["demo", "--out", "OUT", "--kernels", "native", "--block-size", "64"], "doesn't go with --block-size 64"),
        (["demo", "--out", "OUT", "--kernels", "stock", "--kv-cache", "int8"], "goes with --kernels native"),
        (["demo", "--out", "OUT", "--rounding", "search", "--calibration", "a.txt"], "goes with --rounding calibrated"),
        (["demo/checkpoint", "--out", "OUT", "--context", "99999999"], "--context 99999999 is beyond the model's"),
        (["model_export", "--out", "OUT"], "config.json is missing"),
        (["demo/checkpoint", "--out", "demo"], "not empty and no artefact"),
        (["demo/checkpoint", "--out", "README.md"], "is a file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run(*[str(tmp_path / "out") if a == "OUT" else a for a in arguments])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.parametrize("wrong", [["--block-size", "33"], ["--head-bits", "16"], ["--quantization", "int3"]])
def test_an_unknown_choice_is_refused_with_the_choices(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--out", "x", *wrong])
    assert ended.value.code == 2
    assert "choose from" in capsys.readouterr().err


def test_an_interrupt_leaves_everything_as_it_was(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "_write_weights", interrupt)
    assert main([str(checkpoint), "--out", str(tmp_path / "out"), "--rounding", "search"]) == 130
    assert capsys.readouterr().err == "interrupted; the output directory is as it was\n"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("module", [inspect, verify])
def test_the_other_commands_fail_in_the_same_way(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main(["/no/such/directory"]) == 2  # type: ignore[attr-defined]  # both modules have one
    assert capsys.readouterr().err.startswith("error: /no/such/directory is no directory")
