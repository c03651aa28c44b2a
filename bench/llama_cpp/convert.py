"""A Hugging Face checkpoint as GGUF, by llama.cpp's own converter and quantizer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.llama_cpp.build import LLAMA, program
from bench.llama_cpp.errors import ConversionFailed, NotBuilt, PreTokenizerUnknown, ReferenceMissing
from bench.llama_cpp.importance import OPTIONS, calibration_text
from model_export.source import Source

REFERENCE_PYTHON = Path(".venv-reference/bin/python")
QUANTIZED = ("F32", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "IQ4_NL", "IQ4_XS")
IMATRIX = "+imatrix"
KINDS = (*QUANTIZED, *(kind + IMATRIX for kind in QUANTIZED if kind not in ("F32", "BF16", "Q8_0")))
"""What `converted` makes: a type of llama-quantize, with `+imatrix` by the importance of each input channel."""

_HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRE_TOKENIZERS = {_HEAD + r"\p{N}" + _TAIL: "qwen2", _HEAD + r"\p{N}{1,3}" + _TAIL: "llama-bpe"}
"""llama.cpp's name of a pre-tokenizer, by the expression in tokenizer.json that it implements."""

# llama.cpp knows a pre-tokenizer by the hash of the ids that one text gets, so it knows published vocabularies only.
# A vocabulary of one's own has the same expression and other ids: where the hash is unknown, and only there, the name
# is given to the converter from outside. It also imports sentencepiece before it looks whether there is a
# tokenizer.model to open with it: where there is none, an empty module does. The converter's code stays as it is.
WRAPPER = """
import os, runpy, sys, types
directory, pre, *arguments = sys.argv[1:]
sys.path.insert(0, directory)
sys.path.insert(1, directory + "/gguf-py")
from conversion.base import TextModel
published = TextModel.get_vocab_base_pre
def get_vocab_base_pre(self, tokenizer):
    try:
        return published(self, tokenizer)
    except NotImplementedError:
        if not pre:
            raise
        return pre
TextModel.get_vocab_base_pre = get_vocab_base_pre
if not os.path.exists(arguments[0] + "/tokenizer.model"):
    sys.modules["sentencepiece"] = types.ModuleType("sentencepiece")
    sys.modules["sentencepiece"].SentencePieceProcessor = None
sys.argv = ["convert_hf_to_gguf.py", *arguments]
runpy.run_path(directory + "/convert_hf_to_gguf.py", run_name="__main__")
"""


def pre_tokenizer(checkpoint: Path) -> str:
    """llama.cpp's name for how a tokenizer splits text; "" where tokenizer.json doesn't say an expression.

    Raises:
        PreTokenizerUnknown: it says one that isn't in `PRE_TOKENIZERS`.
    """
    tokenizer: dict[str, Any] = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    top = tokenizer.get("pre_tokenizer") or {}
    parts = top.get("pretokenizers", [top])
    expressions = [part["pattern"]["Regex"] for part in parts if "Regex" in part.get("pattern", {})]
    if not expressions:
        return ""
    if len(expressions) > 1 or expressions[0] not in PRE_TOKENIZERS:
        raise PreTokenizerUnknown(
            f"{checkpoint / 'tokenizer.json'} splits text by {' then '.join(expressions)}; add llama.cpp's name for "
            f"that to PRE_TOKENIZERS in bench/llama_cpp/convert.py"
        )
    return PRE_TOKENIZERS[expressions[0]]


def convert(checkpoint: Path, out: Path, python: Path = REFERENCE_PYTHON) -> None:
    """Write a checkpoint as GGUF without loss: bf16 stays bf16, the rest becomes f32.

    Args:
        checkpoint: a Hugging Face directory.
        out: the file.
        python: of an environment with torch and transformers, which the converter needs.

    Raises:
        ReferenceMissing: there is no such environment.
        NotBuilt: llama.cpp's source isn't there.
        PreTokenizerUnknown: see `pre_tokenizer`.
        ConversionFailed: the converter refuses the checkpoint.
    """
    if not python.is_file():
        raise ReferenceMissing(
            f"{python} isn't there: the converter needs torch and transformers; run make .venv-reference/.ready, or "
            f"give the Python of such an environment with --reference-python"
        )
    if not LLAMA.is_dir():
        raise NotBuilt(f"{LLAMA} isn't there; run python -m bench.llama_cpp build")
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    kind = "bf16" if config.get("torch_dtype") == "bfloat16" else "f32"
    arguments = [str(checkpoint), "--outfile", str(out), "--outtype", kind]
    _run("converter", checkpoint, [str(python), "-c", WRAPPER, str(LLAMA), pre_tokenizer(checkpoint), *arguments])


def quantize(gguf: Path, out: Path, kind: str, threads: int, isa: str = "avx2", imatrix: Path | None = None) -> None:
    """Quantize a GGUF file with llama-quantize, which gives some tensors, such as the head, another type than asked.

    Args:
        gguf: what `convert` wrote.
        out: the file.
        kind: one of `QUANTIZED`.
        threads: to compute with.
        isa: the variant of llama.cpp.
        imatrix: what `measure_importance` wrote.

    Raises:
        NotBuilt: llama-quantize isn't there.
        ConversionFailed: it ended with an error.
    """
    # What is dequantized to F32 has to be said to be quantized before; nothing else is ever asked of such a file.
    options = ["--allow-requantize"] if kind == "F32" else []
    options += [] if imatrix is None else ["--imatrix", str(imatrix)]
    _run("quantizer", gguf, [str(program("llama-quantize", isa)), *options, str(gguf), str(out), kind, str(threads)])


def measure_importance(gguf: Path, text: str, out: Path, threads: int, isa: str = "avx2") -> None:
    """Run a text through a GGUF file with llama-imatrix.

    Raises:
        NotBuilt: llama-imatrix isn't there.
        ConversionFailed: it ended with an error.
    """
    file = out.with_suffix(".txt")
    file.write_text(text, encoding="utf-8")
    command = [program("llama-imatrix", isa), "-m", gguf, "-f", file, "-o", out, "-t", threads, *OPTIONS]
    _run("importance matrix", gguf, list(map(str, command)))


def converted(
    source: Source, kinds: Sequence[str], work: Path, python: Path, threads: int
) -> Iterator[tuple[str, Path]]:
    """Convert a checkpoint, or dequantize a GGUF file, once; then quantize it to each kind, one file at a time.

    Raises:
        PeerError: as `convert` and `quantize`.
    """
    if not kinds:
        return
    lossless, imatrix = work / "lossless.gguf", work / "imatrix.gguf"
    if source.gguf is None:
        convert(source.path, lossless, python)
    else:
        quantize(source.gguf, lossless, "F32", threads)
    if any(kind.endswith(IMATRIX) for kind in kinds):
        measure_importance(lossless, calibration_text(source), imatrix, threads)
    for kind in kinds:
        out = work / f"{kind}.gguf"
        name = kind.removesuffix(IMATRIX)
        quantize(lossless, out, name, threads, imatrix=None if name == kind else imatrix)
        yield kind, out
        out.unlink()


def _run(what: str, source: Path, command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-10:])
        raise ConversionFailed(f"llama.cpp's {what} exited with {done.returncode} for {source}:\n{tail}")
