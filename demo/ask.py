"""`python -m demo.ask DIR [QUESTION]`: serve an artefact, ask it as any client would, stream the answers."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai

QUESTIONS = (
    "What is Firebrick?",
    "What is 347 + 285?",
    "Extract name, city and order as JSON.\nHello, my name is Mara Weston and I live in Tessin. On 14 May I ordered "
    "3 brass lamps, order number KD-4821. Please call me at 555-0134.",
)


def ask(client: openai.OpenAI, model: str, question: str) -> None:
    """Stream one answer, then say how soon its first token came and how fast the others followed."""
    print("\n".join(f"> {line}" for line in question.splitlines()))
    started, first = time.perf_counter(), 0.0
    timings: dict[str, Any] = {}
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], temperature=0, stream=True
    )
    for chunk in stream:
        text = chunk.choices[0].delta.content if chunk.choices else None
        if text:
            first = first or time.perf_counter()
            print(text, end="", flush=True)
        timings = (chunk.model_extra or {}).get("timings") or timings
    first_ms = ((first or time.perf_counter()) - started) * 1e3
    rate = timings.get("decode_tokens_per_second")
    speed = f", {rate:,.0f} tokens/s" if rate else ""
    print(f"\n  first token after {first_ms:.0f} ms, {timings.get('completion_tokens', 0)} tokens{speed}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.ask", description="Serve an artefact and ask it questions.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("question", nargs="?", help="instead of the three that it asks by itself")
    args = parser.parse_args(arguments)
    command = [sys.executable, "-m", "handler", "--model-dir", str(args.model_dir), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            if not line:
                return server.wait()
            ready = json.loads(line)
            print(f"{ready['model']} is ready after {ready['ready_ms']:.0f} ms at {ready['url']}\n")
            client = openai.OpenAI(base_url=f"{ready['url']}/v1", api_key="none", max_retries=0)
            for question in [args.question] if args.question else QUESTIONS:
                ask(client, ready["model"], question)
        except openai.APIError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        finally:
            server.terminate()
            server.stdout.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
