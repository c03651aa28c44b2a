"""`python -m handler.prefixing MODEL_DIR FILE…`: prompts' beginnings, computed as the server would and kept in files.

The exporter runs this on an artefact that nobody serves yet, in a process of its own, and then lists the files in the
manifest.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from handler.artefact import Artefact, load_artefact, read_description
from handler.engine.kernels import library_of
from handler.engine.threads import resolve_threads
from handler.errors import StartupError
from handler.settings import Settings, read_settings
from handler.start.environment import configure_libraries
from handler.start.loading import load_template, load_tokenizer, make_prompts, make_served

if TYPE_CHECKING:  # They import numpy, which looks into the environment that `configure_libraries` has to change.
    from handler.api.prefix import Beginning


def read_beginnings(artefact: Artefact, settings: Settings, files: Sequence[Path]) -> list[Beginning]:
    """Turn files into token ids.

    Raises:
        PromptRefused: One of them can't be a prefix.
        StartupError: Tokenizer or template can't be read.
    """
    from handler.api.prefix import read_beginning

    prompts = make_prompts(artefact, load_tokenizer(artefact), load_template(artefact))
    served = make_served(artefact, settings)
    return [read_beginning(path, served, prompts) for path in files]


def write_prefixes(
    artefact: Artefact, settings: Settings, threads: int, beginnings: Sequence[Beginning]
) -> Iterator[str]:
    """Compute the caches and write them into the artefact's directory.

    Yields:
        a line for each file that was written.

    Raises:
        StartupError: The engine can't be loaded.
        PrefixUnwritable: A file can't be written.
    """
    from handler.engine.cancellation import Cancellation
    from handler.engine.engine import Engine, EngineOptions
    from handler.engine.prefixes import write_prefix
    from handler.engine.sampling import SamplingParams

    # One slot, and each from its first token: what a file holds doesn't depend on those before it.
    options = EngineOptions(settings.prefill_chunk, slots=1, keep_prefixes=False, lookup=False)
    engine = Engine.load(artefact, threads, options, settings.kernels)
    for number, beginning in enumerate(beginnings, 1):
        list(engine.generate(beginning.ids, SamplingParams(temperature=0), 1, (), Cancellation()))
        path = artefact.directory / f"prefix-{number}.kv"
        nbytes = write_prefix(path, artefact, beginning.ids, engine.slots.arrays(0))
        yield f"{path.name}: {len(beginning.ids):,} tokens of {beginning.path}, {nbytes / 1e6:,.1f} MB"


def warnings(beginnings: Sequence[Beginning]) -> Iterator[str]:
    """What will disappoint."""
    for beginning in beginnings:
        if beginning.daily:
            yield (
                f"{beginning.path}: the chat template writes today's date behind {len(beginning.ids):,} tokens, so "
                f"{beginning.daily:,} more aren't kept; fix the date in chat_template_kwargs of file and requests"
            )


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command.

    Returns:
        The exit code: 0, or 2 if something that the user can change is wrong.
    """
    parser = argparse.ArgumentParser("python -m handler.prefixing", description="Compute prompts' beginnings once.")
    parser.add_argument("model_dir", type=Path, metavar="MODEL_DIR", help="an artefact; prefix-1.kv … are put into it")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".json with messages, or .txt")
    parser.add_argument("--check", action="store_true", help="read FILEs only; tokenizer and firebrick.json must do")
    given = parser.parse_args(arguments)
    try:
        settings = read_settings(environ, model_dir=str(given.model_dir))
        artefact = read_description(given.model_dir) if given.check else load_artefact(given.model_dir, "quick")
        beginnings = read_beginnings(artefact, settings, given.files)
        library_of(artefact, settings.kernels)  # missing, it is missed now and not after the work of an export
        lines = warnings(beginnings)
        if not given.check:
            lines = write_prefixes(artefact, settings, resolve_threads(environ), beginnings)
        for line in lines:
            print(line, flush=True)
    except StartupError as error:
        print(f"firebrick: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    configure_libraries(os.environ)
    sys.exit(main(sys.argv[1:], os.environ))
