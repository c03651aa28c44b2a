"""`python -m bench.constrained DIR`: what it costs to follow a grammar, and what forced tokens save.

Masks are measured at 128,256 tokens, whatever the model: a vocabulary of made-up words, or a real one by `--tokenizer`.
Decoding is measured on the model, free and constrained in turns: by a grammar that takes any text, so that every token
is chosen, and by a schema with long keys, most of which is forced.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, NamedTuple, cast

import numpy as np
from kitoken import Kitoken

from bench.engine import Loaded
from bench.machine import print_ceiling
from handler.artefact import TOKENIZER
from handler.engine.cancellation import Cancellation
from handler.engine.engine import EngineOptions
from handler.engine.sampling import Sampler, SamplingParams
from handler.engine.sequence import Token
from handler.text.grammar import Grammar
from handler.text.grammars import Grammars
from handler.text.tokenizer import Tokenizer

GREEDY = SamplingParams(temperature=0)
VOCABULARY = 128_256
ANY_TEXT = Grammar("regex", r"(?s:.*)\x00", "any_text")  # until a character that no model writes
LONG_KEYS = (
    *("customer_identification_number", "preferred_delivery_address_street", "preferred_delivery_address_city"),
    *("expected_delivery_date_of_the_order", "total_price_including_all_taxes", "special_handling_instructions"),
)
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string", "minLength": 4, "maxLength": 12} for name in LONG_KEYS},
    "required": list(LONG_KEYS),
    "additionalProperties": False,
}
OBJECT = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "city": {"type": "string", "maxLength": 50},
        "order": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        "count": {"type": "integer", "minimum": 1, "maximum": 999999},
        "tags": {"type": "array", "items": {"type": "string"}},
        "mail": {"type": "string", "format": "email"},
    },
    "required": ["name", "city", "order", "count", "tags", "mail"],
    "additionalProperties": False,
}
INSTANCE = {
    "name": "Mara Weston, née Löwe",
    "city": "Tessin bei Rostock",
    "order": "KD-4821",
    "count": 123456,
    "tags": ["brass lamps", "to be delivered in the morning", "ü"],
    "mail": "mara.weston@example.com",
}
AT_START = """
import sys
from pathlib import Path
from handler.settings import Settings
from handler.start.loading import load_model
load_model(Settings(Path(sys.argv[1]), verify="quick"), 1)
print("llguidance" in sys.modules)
"""


class MadeUp:
    """A vocabulary: the bytes, an end, and words of two to nine letters with a blank before them or none."""

    def __init__(self, size: int) -> None:
        """Make up so many tokens."""
        rng = Random("vocabulary")
        names = [bytes([byte]) for byte in range(256)] + [b"</s>"]
        known = set(names)
        while len(names) < size:
            word = "".join(rng.choice('eeeaaiioutnshrdlcmpgbfwykv"{}:,._- ') for _ in range(rng.randint(2, 9)))
            name = (rng.choice(("", " ")) + word).encode()
            names += [] if name in known else [name]
            known.add(name)
        self._names = names
        self._ids = {name: id for id, name in enumerate(names) if id != 256}

    def token_bytes(self, id: int) -> bytes:
        """What a token stands for."""
        return self._names[id]

    def is_special(self, id: int) -> bool:
        """Whether it is the end."""
        return id == 256

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Spell a text by the longest tokens."""
        given, ids = text.encode(), []
        while given:
            length = next(n for n in range(10, 0, -1) if given[:n] in self._ids)
            ids.append(self._ids[given[:length]])
            given = given[length:]
        return ids


def vocabulary(path: Path | None) -> tuple[Tokenizer, int, list[int]]:
    """A tokenizer, its size, and what ends an answer."""
    if path is None:
        return cast(Tokenizer, MadeUp(VOCABULARY)), VOCABULARY, [256]
    tokenizer = Tokenizer(Kitoken.from_tokenizers(path.read_bytes()))
    ids = [token["id"] for token in json.loads(path.read_text(encoding="utf-8"))["added_tokens"]]
    return tokenizer, VOCABULARY, ids[:1]


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Call a function; gives milliseconds and what it returned."""
    started = time.perf_counter()
    value = function()
    return (time.perf_counter() - started) * 1e3, value


def masks(path: Path | None, rounds: int) -> dict[str, float]:
    """Follow an answer through its grammar, and take the time for each token that isn't forced; medians in ms."""
    tokenizer, size, stop_ids = vocabulary(path)
    grammars = Grammars(tokenizer, size, stop_ids)
    grammar = Grammar("json_schema", json.dumps(OBJECT), "schema")
    first_ms, make = timed(lambda: grammars.compile(grammar))
    other = Grammar("json_schema", json.dumps({**OBJECT, "required": ["name"]}), "schema")
    compile_ms, _ = timed(lambda: grammars.compile(other))
    ids = tokenizer.encode(json.dumps(INSTANCE, ensure_ascii=False), special=False)
    logits = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    sampler = Sampler(GREEDY, [], size)
    times, choosing, free = [], [], []
    for _ in range(1 + rounds):
        constraint = make()
        for id in ids:
            if not constraint.forced():
                took, mask = timed(constraint.allowed)
                times.append(took)
                choosing.append(timed(partial(sampler.sample, logits, mask))[0])
                free.append(timed(partial(sampler.sample, logits))[0])
            constraint.advance(id)
        assert constraint.ended
    return {
        "tokens": size,
        "first_grammar_ms": round(first_ms, 1),
        "grammar_ms": round(compile_ms, 2),
        "mask_ms": round(median(times), 4),
        "longest_mask_ms": round(max(times), 2),
        "choose_ms": round(median(choosing), 4),
        "choose_free_ms": round(median(free), 4),
    }


class Took(NamedTuple):
    """Seconds of a token.

    Attributes:
        whole: all of them.
        outside: of that, what wasn't onnxruntime's.
    """

    whole: float
    outside: float


class Decoding:
    """A model's answers to a prompt, by engines that share a session."""

    def __init__(self, model_dir: Path, tokens: int) -> None:
        """Load the model; answers have `tokens` tokens at most."""
        loaded = Loaded(model_dir)
        self._session = loaded.session
        artefact = loaded.artefact
        options = EngineOptions(keep_prefixes=False, lookup=False)
        self._free, _ = loaded.engine(options)
        self._engine, _ = loaded.engine(options)
        self._tokenizer = Tokenizer.load(model_dir / TOKENIZER)
        self._grammars = Grammars(self._tokenizer, artefact.vocab_size, artefact.eos_token_ids)
        self._prompt = self._tokenizer.encode("Tell me a story.")
        self._tokens = min(tokens, artefact.context_length - len(self._prompt))

    def in_turns(self, grammar: Grammar) -> tuple[list[Took], list[Took]]:
        """Free and constrained answers, token by token in turns; gives what each token behind the first took."""
        answers = [self._answer(None), self._answer(grammar)]
        times: tuple[list[Took], list[Took]] = ([], [])
        for _ in range(self._tokens):
            for answer, took in zip(answers, times, strict=True):
                started, before = time.perf_counter(), self._session.seconds
                if next(answer, None) is not None:
                    seconds = time.perf_counter() - started
                    took.append(Took(seconds, seconds - (self._session.seconds - before)))
        return times[0][1:], times[1][1:]

    def _answer(self, grammar: Grammar | None) -> Generator[Token, None, None]:
        engine = self._free if grammar is None else self._engine
        constraint = self._grammars.compile(grammar)() if grammar is not None else None
        return engine.generate(self._prompt, GREEDY, self._tokens, (), Cancellation(), constraint)


def decoding(model_dir: Path, tokens: int, rounds: int) -> dict[str, Any]:
    """Compare tokens that are chosen by a grammar, and those of a schema with long keys, with free ones."""
    model = Decoding(model_dir, tokens)
    keys = Grammar("json_schema", json.dumps(SCHEMA), "schema")
    free: list[Took] = []
    chosen: list[Took] = []
    beside, forced = 0.0, 0.0
    for number in range(1 + rounds):
        turns, long = model.in_turns(ANY_TEXT), model.in_turns(keys)
        if number:
            free, chosen = free + turns[0], chosen + turns[1]
            count = len(long[1])
            beside += sum(took.whole for took in long[0][:count])
            forced += sum(took.whole for took in long[1])
    token, constrained = (median(took.whole for took in tooks) for tooks in (free, chosen))
    return {
        "free_tokens_per_second": round(1 / token, 1),
        "constrained_tokens_per_second": round(1 / constrained, 1),
        "long_keys_tokens_per_second": round(count * rounds / forced, 1),
        "constrained_ratio": round(token / constrained, 3),
        "long_keys_ratio": round(beside / forced, 3),
        "outside_ms": round(median(took.outside for took in free) * 1e3, 3),
        "constrained_outside_ms": round(median(took.outside for took in chosen) * 1e3, 3),
    }


def imported_at_start(model_dir: Path) -> bool:
    """Whether a server that nobody has asked for a grammar has imported what makes them."""
    output = subprocess.check_output([sys.executable, "-c", AT_START, str(model_dir)], text=True)
    return output.split()[-1] == "True"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.constrained", description="Follow grammars, and don't.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--tokens", type=int, default=160, help="of an answer, at most (%(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="a tokenizer.json of up to 128,256 tokens")
    args = parser.parse_args(arguments)
    machine, rounds = print_ceiling(), max(1, args.rounds)
    mask = masks(args.tokenizer, rounds)
    print(
        f"{mask['tokens']:,} tokens: the first grammar {mask['first_grammar_ms']:.0f} ms, "
        f"another {mask['grammar_ms']:.1f} ms; a mask {mask['mask_ms']:.3f} ms, "
        f"to choose by it {mask['choose_ms']:.3f} ms, without {mask['choose_free_ms']:.3f} ms"
    )
    speed = decoding(args.model_dir, args.tokens, rounds)
    print(
        f"tokens/s: free {speed['free_tokens_per_second']:,}, constrained {speed['constrained_tokens_per_second']:,} "
        f"({speed['constrained_ratio']:.2f}), long keys {speed['long_keys_tokens_per_second']:,} "
        f"({speed['long_keys_ratio']:.2f}); outside of onnxruntime {speed['outside_ms']:.3f} ms a token, "
        f"constrained {speed['constrained_outside_ms']:.3f} ms"
    )
    figures = {"mask": mask, "decode": speed, "imported_at_start": imported_at_start(args.model_dir)}
    print(json.dumps({"bench": "constrained", "artefact": str(args.model_dir), **figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
