"""llama.cpp's own programs, built from the source that llama-cpp-python's sdist carries.

The sdist comes from the package index through pip and is pinned by its hash, so no git repository is needed. Each
variant has a directory of its own: `build/llama.cpp/VERSION/ISA/bin`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.llama_cpp.errors import BuildFailed, NotBuilt, SourceUnavailable, ToolMissing

VERSION = "0.3.36"
COMMIT = "0c1e57098"  # of llama.cpp, by the sdist's changelog
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
DIRECTORY = Path(__file__).parent.parent.parent / "build" / "llama.cpp" / VERSION
SOURCE = DIRECTORY / "source"
LLAMA = SOURCE / "vendor" / "llama.cpp"
PROGRAMS = ("llama-quantize", "llama-bench", "llama-server", "llama-perplexity", "llama-imatrix")
LOGITS = "firebrick-logits"  # ours: logits.cpp

AVX2 = ("SSE42", "AVX", "AVX2", "BMI2", "FMA", "F16C")
AVX512 = ("AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16")  # AVX512 is F, CD, VL, DQ and BW
AMX = ("AMX_TILE", "AMX_INT8", "AMX_BF16")
# What each variant may use. AMX is in "native" only, where the machine has it: gcc 12's build of it crashes when it
# configures the tiles.
VARIANTS: dict[str, Sequence[str]] = {"avx2": AVX2, "avx512": (*AVX2, *AVX512), "native": ()}
COMMON = {
    "CMAKE_BUILD_TYPE": "Release",
    # Without these two, cmake would ask git, which would name the commit of the repository around it.
    "LLAMA_BUILD_NUMBER": "0",
    "LLAMA_BUILD_COMMIT": COMMIT,
    "CMAKE_BUILD_RPATH_USE_ORIGIN": "ON",  # what is built can be moved
    "GGML_OPENMP": "ON",
    "GGML_CCACHE": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",  # or it would be downloaded
}


def definitions(isa: str) -> dict[str, str]:
    """The cmake variables of a variant: every instruction set is said, on or off, so that no default decides."""
    if isa == "native":
        return {**COMMON, "GGML_NATIVE": "ON"}
    every = (*AVX2, *AVX512, "AVX_VNNI", *AMX)
    return {**COMMON, "GGML_NATIVE": "OFF", **{f"GGML_{name}": _on(name in VARIANTS[isa]) for name in every}}


def _on(value: bool) -> str:
    return "ON" if value else "OFF"


def program(name: str, isa: str) -> Path:
    """Where a program of a variant is.

    Raises:
        NotBuilt: it isn't there.
    """
    path = DIRECTORY / isa / "bin" / name
    if not path.is_file():
        raise NotBuilt(f"{path} isn't there; run python -m bench.llama_cpp build --isa {isa}")
    return path


def build(isa: str, jobs: int) -> Path:
    """Build all programs of a variant; gives their directory. What is built already stays.

    Raises:
        ToolMissing: cmake, make or a compiler.
        SourceUnavailable: see `fetch`.
        BuildFailed: the compiler's last lines are in the message.
    """
    for name, package in (("cmake", "cmake"), ("make", "make"), ("c++", "g++")):
        if shutil.which(name) is None:
            raise ToolMissing(name, package)
    fetch()
    out = DIRECTORY / isa
    variables = [f"-D{name}={value}" for name, value in definitions(isa).items()]
    _run("cmake", "-S", LLAMA, "-B", out, "-G", "Unix Makefiles", *variables)
    _run("cmake", "--build", out, "-j", jobs, "--target", *PROGRAMS)
    _build_logits(out / "bin")
    return out / "bin"


def _build_logits(out: Path) -> None:
    source = Path(__file__).parent / "logits.cpp"
    include = [f"-I{LLAMA / 'include'}", f"-I{LLAMA / 'ggml' / 'include'}"]
    libraries = [f"-L{out}", "-lllama", "-lggml", "-lggml-base", "-Wl,-rpath,$ORIGIN"]
    _run("c++", "-std=c++17", "-O2", "-Wall", *include, source, "-o", out / LOGITS, *libraries)


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    print("+", *words, file=sys.stderr, flush=True)
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-20:])
        raise BuildFailed(f"{' '.join(words[:3])} … exited with {done.returncode}:\n{tail}")


def download(requirement: str, sha256: str, directory: Path, what: str, *options: str) -> None:
    """Download a package's pinned file into a directory.

    Args:
        requirement: NAME==VERSION.
        sha256: of the file.
        directory: where to.
        what: it is, for the message.
        options: of pip, which say whether it is a wheel or a source distribution.

    Raises:
        SourceUnavailable: pip can't get it, or it has another hash.
    """
    requirements = directory / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options]
    done = subprocess.run([*pip, "-d", str(directory), "-r", str(requirements)], capture_output=True, text=True)
    if done.returncode:
        raise SourceUnavailable(f"pip can't download {what}: {done.stderr.strip() or done.stdout.strip()}")


def fetch() -> None:
    """Download the pinned sdist and unpack it, unless that is done.

    Raises:
        SourceUnavailable: pip can't get it, or it has another hash.
    """
    if LLAMA.is_dir():
        return
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DIRECTORY) as work:
        # pip asks a source distribution for its metadata, for which it needs that package's build backend.
        what = f"llama-cpp-python {VERSION}, which carries llama.cpp's source"
        download(f"llama-cpp-python=={VERSION}", SHA256, Path(work), what, "--no-binary", "llama-cpp-python")
        with tarfile.open(next(Path(work).glob("*.tar.gz"))) as archive:
            archive.extractall(work, filter="data")
        next(Path(work).glob("llama_cpp_python-*/")).rename(SOURCE)
