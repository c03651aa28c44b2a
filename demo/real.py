"""`python -m demo.real DIR FILE [QUESTION]`: a model that others made: say what it is, serve its artefact, ask it.

FILE is the GGUF file that DIR was exported from. Without a question of your own it asks three.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import openai

from demo.ask import Asker, show
from demo.serving import ServerEnded, served
from model_export.errors import ExportError
from model_export.gguf.header import read_header

QUESTIONS = ("What is photosynthesis?", "What is gravity?", "Give me three tips for better sleep.")
TOKENS = 160


def card(file: Path) -> str:
    """What a GGUF file says of the model in it.

    Raises:
        ExportError: it can't be read.
    """
    metadata = read_header(file).metadata
    who, name, licence = (metadata.get(f"general.{key}", "?") for key in ("organization", "basename", "license"))
    return f"{file.name}, {file.stat().st_size:,} bytes: {name} by {who}, licence {licence}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.real", description="Ask a model that others made.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("question", nargs="?", help="instead of the three that it asks by itself")
    args = parser.parse_args(arguments)
    try:
        print(card(args.file))
        with served(args.model_dir) as server:
            print(f"{server.model} is ready after {server.ready_ms:.0f} ms at {server.url}\n")
            asker = Asker(openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0), server.model)
            for question in [args.question] if args.question else QUESTIONS:
                show(question)
                asker.ask([{"role": "user", "content": question}], max_completion_tokens=TOKENS)
    except ServerEnded as ended:
        return ended.code
    except (ExportError, openai.APIError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
