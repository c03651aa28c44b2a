"""`python -m demo.ask DIR [QUESTION]`: serve an artefact, ask it as any client would, stream the answers.

Without a question of your own it asks three, then one that needs a tool, and one whose answer a JSON schema describes.
"""

from __future__ import annotations

import argparse
import json
import operator
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import openai

from demo.serving import ServerEnded, served

LETTER = (
    "Hello, my name is Mara Weston and I live in Tessin. On 14 May I ordered 3 brass lamps, order number KD-4821. "
    "Please call me at 555-0134."
)
QUESTIONS = (
    "What is Firebrick?",
    "What is 347 + 285?",
    f"Extract name, city and order as JSON.\n{LETTER}",
)
TOOL_QUESTION = "What is 347 times 285?"
TOOLS = {"multiply": operator.mul}
MULTIPLY = {
    "name": "multiply",
    "description": "Multiply two numbers",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
}
SCHEMA_QUESTION = f"Read the order.\n{LETTER}"
ORDER = {
    "type": "object",
    "properties": {
        "order": {"type": "string"},
        "quantity": {"type": "integer"},
        "product": {"type": "string"},
        "customer": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "city": {"type": "string"}},
            "required": ["name", "city"],
            "additionalProperties": False,
        },
    },
    "required": ["order", "quantity", "product", "customer"],
    "additionalProperties": False,
}


class Asker:
    """A client of one model, and the members that all its requests share."""

    def __init__(self, client: openai.OpenAI, model: str) -> None:
        self._client, self._model = client, model

    def ask(self, messages: list[dict[str, Any]], **members: Any) -> list[dict[str, Any]]:
        """Stream one answer, then say how soon its first token came and how fast the others followed.

        Returns:
            The tool calls of the answer, as a message takes them.
        """
        started, first = time.perf_counter(), 0.0
        timings: dict[str, Any] = {}
        calls: list[dict[str, Any]] = []
        request: dict[str, Any] = {"model": self._model, "messages": messages, "temperature": 0, **members}
        for chunk in self._client.chat.completions.create(**request, stream=True):
            delta = chunk.choices[0].delta if chunk.choices else None
            if delta and (delta.content or delta.tool_calls):
                first = first or time.perf_counter()
                print(delta.content or "", end="", flush=True)
                collect(calls, [part.model_dump() for part in delta.tool_calls or []])
            timings = (chunk.model_extra or {}).get("timings") or timings
        print("\n".join(f"{call['function']['name']}({call['function']['arguments']})" for call in calls))
        print(f"  {figures(started, first, timings)}\n")
        return calls

    def ask_with_tools(self, question: str) -> None:
        """Ask something that needs a tool, run what the model calls, and let it tell the result."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
        show(question)
        calls = self.ask(messages, tools=[{"type": "function", "function": MULTIPLY}])
        if not calls:
            return
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        for call in calls:
            result = run(call["function"]["name"], call["function"]["arguments"])
            show(f"[{call['function']['name']}] {result}")
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        self.ask(messages, tools=[{"type": "function", "function": MULTIPLY}])

    def ask_by_schema(self, question: str) -> None:
        """Ask for an object by a schema."""
        show(question)
        schema = {"name": "order", "strict": True, "schema": ORDER}
        form = {"type": "json_schema", "json_schema": schema}
        self.ask([{"role": "user", "content": question}], response_format=form)


def run(name: str, arguments: str) -> str:
    """Run what the model calls; gives the result, or what's wrong with the call, as text for the model."""
    try:
        values = json.loads(arguments)
        return str(TOOLS[name](values["a"], values["b"]))
    except (KeyError, TypeError, ValueError) as error:
        return f"{name} can't be called so: {error!r}"


def collect(calls: list[dict[str, Any]], parts: Sequence[Mapping[str, Any]]) -> None:
    """Put a chunk's parts of tool calls to those that came before."""
    for part in parts:
        while len(calls) <= part["index"]:
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = calls[part["index"]], part.get("function") or {}
        call["id"] = part.get("id") or call["id"]
        for member in ("name", "arguments"):
            call["function"][member] += function.get(member) or ""


def figures(started: float, first: float, timings: Mapping[str, Any]) -> str:
    """When the first token came, and how fast the others followed."""
    first_ms = ((first or time.perf_counter()) - started) * 1e3
    rate = timings.get("decode_tokens_per_second")
    speed = f", {rate:,.0f} tokens/s" if rate else ""
    return f"first token after {first_ms:.0f} ms, {timings.get('completion_tokens', 0)} tokens{speed}"


def show(question: str) -> None:
    """Print what the model is told."""
    print("\n".join(f"> {line}" for line in question.splitlines()))


def talk(asker: Asker, question: str | None) -> None:
    """Ask one question, or all of them."""
    for text in [question] if question else QUESTIONS:
        show(text)
        asker.ask([{"role": "user", "content": text}])
    if not question:
        asker.ask_with_tools(TOOL_QUESTION)
        asker.ask_by_schema(SCHEMA_QUESTION)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.ask", description="Serve an artefact and ask it questions.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("question", nargs="?", help="instead of the five that it asks by itself")
    args = parser.parse_args(arguments)
    try:
        with served(args.model_dir) as server:
            print(f"{server.model} is ready after {server.ready_ms:.0f} ms at {server.url}\n")
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
            talk(Asker(client, server.model), args.question)
    except ServerEnded as ended:
        return ended.code
    except openai.APIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
