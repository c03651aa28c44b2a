from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.llama_cpp import convert
from bench.llama_cpp.errors import ConversionFailed, NotBuilt, PreTokenizerUnknown, ReferenceMissing
from bench.llama_cpp.importance import calibration_text
from model_export.source import Source
from tests.bench.llama_cpp.conftest import Install
from tests.conftest import ROOT

DEMO = ROOT / "demo" / "checkpoint"
SOURCE = Source(DEMO, "demo", None)


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def with_pre_tokenizer(directory: Path, value: object) -> Path:
    (directory / "tokenizer.json").write_text(json.dumps({"pre_tokenizer": value}))
    return directory


def test_the_demo_model_splits_text_as_qwen2_does() -> None:
    assert convert.pre_tokenizer(DEMO) == "qwen2"


def test_random_checkpoints_split_text_as_llama_3_does(checkpoint: Path) -> None:
    assert convert.pre_tokenizer(checkpoint) == "llama-bpe"


@pytest.mark.parametrize("value", [None, {"type": "Metaspace"}, {"type": "Sequence", "pretokenizers": []}])
def test_without_an_expression_it_is_left_to_the_converter(value: object, tmp_path: Path) -> None:
    assert convert.pre_tokenizer(with_pre_tokenizer(tmp_path, value)) == ""


def test_an_unknown_expression_is_refused_by_name(tmp_path: Path) -> None:
    with_pre_tokenizer(tmp_path, {"type": "Split", "pattern": {"Regex": r"\w+"}})
    with pytest.raises(PreTokenizerUnknown, match=r"\\w\+"):
        convert.pre_tokenizer(tmp_path)


def test_a_missing_reference_environment_names_its_target(tmp_path: Path) -> None:
    with pytest.raises(ReferenceMissing, match=r"make \.venv-reference"):
        convert.convert(DEMO, tmp_path / "out", tmp_path / "none")


def test_the_source_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "LLAMA", tmp_path / "none")
    with pytest.raises(NotBuilt, match=r"bench\.llama_cpp build"):
        convert.convert(DEMO, tmp_path / "out", Path(sys.executable))


def test_the_converter_is_told_the_type_and_the_pre_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "LLAMA", tmp_path)
    python = script(tmp_path / "python", '#!/bin/sh\nshift 2\nprintf "%s\\n" "$@" > "$5"\n')
    convert.convert(DEMO, tmp_path / "out", python)
    said = [str(tmp_path), "qwen2", str(DEMO), "--outfile", str(tmp_path / "out"), "--outtype", "bf16"]
    assert (tmp_path / "out").read_text().splitlines() == said


def test_a_refusing_converter_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "LLAMA", tmp_path)
    python = script(tmp_path / "python", "#!/bin/sh\necho not supported\nexit 3\n")
    with pytest.raises(ConversionFailed, match=r"exited with 3 for .*checkpoint:\nnot supported"):
        convert.convert(DEMO, tmp_path / "out", python)


def test_each_kind_is_quantized_from_one_conversion(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "LLAMA", tmp_path)
    python = script(tmp_path / "python", '#!/bin/sh\necho once >> "$7"\n')
    install("llama-quantize", '#!/bin/sh\n{ cat "$1"; echo "$3"; } > "$2"\n')
    found = {k: f.read_text() for k, f in convert.converted(SOURCE, ["Q4_0", "Q8_0"], tmp_path, python, 1)}
    assert found == {"Q4_0": "once\nQ4_0\n", "Q8_0": "once\nQ8_0\n"}


def test_the_importance_is_measured_once_and_used_where_asked(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "LLAMA", tmp_path)
    python = script(tmp_path / "python", "#!/bin/sh\n")
    install("llama-imatrix", '#!/bin/sh\necho once >> "$6"\n')
    install("llama-quantize", '#!/bin/sh\n[ "$1" = --imatrix ] && { cp "$2" "$4"; exit; }\necho plain > "$2"\n')
    kinds = ["Q4_0+imatrix", "Q4_0", "Q4_K_M+imatrix"]
    found = [file.read_text() for _, file in convert.converted(SOURCE, kinds, tmp_path, python, 1)]
    assert found == ["once\n", "plain\n", "once\n"]


def test_the_importance_is_that_of_our_own_calibration_text() -> None:
    text = calibration_text(SOURCE)
    assert "Firebrick" in text
    assert "<|end|><|user|>" in text


def test_nothing_is_converted_for_no_kinds(tmp_path: Path) -> None:
    assert not list(convert.converted(SOURCE, [], tmp_path, tmp_path / "none", 1))
