"""`python -m bench.lookup DIR`: decoding with prompt lookup against decoding without, on several tasks.

Both engines share a session and take turns, prompt by prompt; they must give the same tokens. The demo model solves
its own tasks. A model of random weights can't: `--scripted RATE` has it say what is expected of it, token by token, so
that steps cost what they cost and guesses are as right or wrong as in a real answer. Rewriting then keeps each word
of its text with that probability.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.engine import Loaded
from bench.machine import print_ceiling
from demo.evaluation import Item, items
from demo.stories import full_text, invent, telling
from demo.words import Dialogue, turn, words
from handler.artefact import TOKENIZER
from handler.engine.cancellation import Cancellation
from handler.engine.engine import EngineOptions
from handler.engine.sampling import SamplingParams
from handler.text.template import ChatTemplate
from handler.text.tokenizer import Tokenizer

GREEDY = SamplingParams(temperature=0)
SAMPLED = SamplingParams(temperature=0.8, seed=1)
CALIBRATION = Path(__file__).parent.parent / "model_export" / "calibration.jsonl"
OTHER_WORDS = words("seven river under music plain stone either cold quick north glass window paper often")


@dataclass(frozen=True)
class Case:
    """A prompt and how to answer it.

    Attributes:
        ids: of the prompt.
        params: how to choose tokens.
        script: what is said whatever the model would; empty to let it.
        stop: whether a token that ends answers ends this one.
    """

    ids: list[int]
    params: SamplingParams = GREEDY
    script: tuple[int, ...] = ()
    stop: bool = True


class Script:
    """A constraint that leaves no choice and doesn't say so: guesses are made as for any answer."""

    ended = False

    def __init__(self, ids: Sequence[int], vocab_size: int) -> None:
        """Say `ids`, one after the other."""
        self._ids = ids
        self._at = 0
        self._allowed = np.zeros(vocab_size, dtype=np.bool_)

    def allowed(self) -> NDArray[np.uint8]:
        """The next one alone."""
        self._allowed[self._ids[self._at - 1]] = False
        self._allowed[self._ids[self._at]] = True
        return np.packbits(self._allowed, bitorder="little")

    def forced(self) -> Sequence[int]:
        """None, for the guesses' sake."""
        return ()

    def prepare(self) -> None:
        """Nothing takes long here."""

    def fitting(self, tokens: Sequence[int]) -> int:
        """All, for the guesses' sake: none is cut before it costs anything."""
        return len(tokens)

    def advance(self, token: int) -> None:
        """Go on."""
        self._at = (self._at + 1) % len(self._ids)


@dataclass(frozen=True)
class Answered:
    """An answer and what it took.

    Attributes:
        ids: of its tokens.
        seconds: from the first token to the last.
        chosen: tokens behind the first one, with the one that ended it.
        steps: that decoded.
        guessed: tokens that went through the graph as guesses.
    """

    ids: list[int]
    seconds: float
    chosen: int
    steps: int
    guessed: int


class Side:
    """One of the two engines."""

    def __init__(self, loaded: Loaded, lookup: bool) -> None:
        """Put it around the session."""
        self._stop_ids = loaded.artefact.eos_token_ids
        self._engine, self._steps = loaded.engine(EngineOptions(keep_prefixes=False, lookup=lookup))

    def answer(self, case: Case, tokens: int) -> Answered:
        """Answer a case."""
        most = min(len(case.script) or tokens, self._engine.context_length - len(case.ids))
        script = Script(case.script, self._engine.vocab_size) if case.script else None
        stop_ids = self._stop_ids if case.stop and not case.script else ()
        answer = self._engine.generate(case.ids, case.params, most, stop_ids, Cancellation(), script)
        ids = [token.id for token in [next(answer, None)] if token is not None]
        steps, ran, started = self._steps.count, self._steps.tokens, time.perf_counter()
        ids += [token.id for token in answer]
        seconds = time.perf_counter() - started
        steps, ran = self._steps.count - steps, self._steps.tokens - ran
        chosen = len(ids) - (len(ids) == most)
        return Answered(ids, seconds, chosen, steps, ran - steps)


class Tasks:
    """Cases by task, in the words of a model."""

    def __init__(self, model_dir: Path, loaded: Loaded, rate: float | None) -> None:
        """Load what turns text into tokens; `rate` is given for scripted answers."""
        self._tokenizer = Tokenizer.load(model_dir / TOKENIZER)
        source = (model_dir / "chat_template.jinja").read_text(encoding="utf-8")
        self._template = ChatTemplate(source, loaded.artefact.special_tokens)
        self._rate = rate

    def cases(self, count: int, tokens: int) -> dict[str, list[Case]]:
        """`count` cases of each task."""
        skills: dict[str, Callable[[], list[Item]]] = {
            "extraction": lambda: items("extraction", count),
            "extraction, again": lambda: again(items("extraction", 2 * count)),
            "repetition": lambda: items("repetition", count),
            "retelling": lambda: items("stories", count),
        }
        found = {name: [self._case(item) for item in make()] for name, make in skills.items()}
        rng = Random("lookup")
        stories = [_item(telling(rng, True)) for _ in range(count)]
        found["free text"] = [self._case(item) for item in stories]
        if self._rate is None:
            found["free text, sampled"] = [self._case(item, SAMPLED) for item in stories]
            found["what repeats"] = [self._repeating(rng) for _ in range(count)]
        else:
            found["rewriting"] = [self._case(rewriting(rng, self._rate)) for _ in range(count)]
            found["prose"] = self._prose(count, tokens)
        return found

    def _case(self, item: Item, params: SamplingParams = GREEDY) -> Case:
        ids = self._tokenizer.encode(self._template.render(item.messages, {}))
        script = self._tokenizer.encode(item.expected, special=False) if self._rate is not None else ()
        return Case(ids, params, tuple(script))

    def _repeating(self, rng: Random) -> Case:
        sentence = f" {full_text(invent(rng, True)).split('.')[0]}."
        return Case(self._tokenizer.encode(sentence * 6), stop=False)

    def _prose(self, count: int, tokens: int) -> list[Case]:
        """Texts that go on as their authors went on."""
        texts = [json.loads(line).get("text", "") for line in CALIBRATION.read_text(encoding="utf-8").splitlines()]
        ids = self._tokenizer.encode("\n\n".join(text for text in texts if text), special=False)
        pieces = [ids[at : at + 4 * tokens] for at in range(0, len(ids), 4 * tokens)][:count]
        half = [len(piece) // 2 for piece in pieces]
        return [Case(p[:h], script=tuple(p[h:])) for p, h in zip(pieces, half, strict=True) if h]


def _item(dialogue: Dialogue) -> Item:
    return Item(dialogue[:-1], dialogue[-1]["content"])


def again(single: Sequence[Item]) -> list[Item]:
    """Pairs of items as one conversation, of which the second answer is wanted: the first shows the form."""
    pairs = zip(single[::2], single[1::2], strict=True)
    return [
        Item([*a.messages, {"role": "assistant", "content": a.expected}, *b.messages], b.expected) for a, b in pairs
    ]


def rewriting(rng: Random, rate: float) -> Item:
    """Two stories, to be written down again with some of their words exchanged."""
    text = f"{full_text(invent(rng, True))} {full_text(invent(rng, True))}"
    kept = [word if rng.random() < rate else rng.choice(OTHER_WORDS) for word in text.split()]
    return _item(turn(f"Correct this text: {text}", " ".join(kept)))


def compare(loaded: Loaded, cases: Sequence[Case], tokens: int, rounds: int) -> dict[str, float]:
    """Answer every case on both sides, in turns; a case's time is the median of the rounds.

    Raises:
        SystemExit: guesses changed an answer.
    """
    sides = {name: Side(loaded, lookup=name == "lookup") for name in ("plain", "lookup")}
    order = list(sides)
    for side in sides.values():
        side.answer(cases[0], tokens)
    seconds = dict.fromkeys(sides, 0.0)
    chosen = steps = guessed = 0
    for number, case in enumerate(cases):
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            order.reverse()
            answers = {name: sides[name].answer(case, tokens) for name in order}
            if answers["plain"].ids != answers["lookup"].ids:
                raise SystemExit(f"error: guesses changed the answer to case {number}")
            for name, answer in answers.items():
                times[name].append(answer.seconds)
        for name, values in times.items():
            seconds[name] += median(values)
        ours = answers["lookup"]
        chosen, steps, guessed = chosen + ours.chosen, steps + ours.steps, guessed + ours.guessed
    return {
        "tokens": chosen,
        "steps": steps,
        "guessed": guessed,
        "acceptance": round((chosen - steps) / max(1, guessed), 3),
        **{f"{name}_tokens_per_second": round(chosen / took, 2) for name, took in seconds.items()},
        "speed_up": round(seconds["plain"] / seconds["lookup"], 3),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.lookup", description="Decode with and without guesses.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--count", type=int, default=12, help="cases of a task (%(default)s)")
    parser.add_argument("--tokens", type=int, default=96, help="of an answer, at most (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="TASK", help="some of the tasks")
    parser.add_argument("--scripted", type=float, metavar="RATE", help="say what is expected; see above")
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    loaded = Loaded(args.model_dir)
    tasks = Tasks(args.model_dir, loaded, args.scripted).cases(max(1, args.count), args.tokens)
    if unknown := set(args.only or ()) - tasks.keys():
        parser.error(f"no task {', '.join(sorted(unknown))}; there are {', '.join(tasks)}")
    chosen = {name: cases for name, cases in tasks.items() if not args.only or name in args.only}
    figures = {}
    print(f"{'':<20}{'tokens':>8}{'steps':>8}{'right':>8}{'without':>10}{'with':>10}{'speed-up':>10}")
    for name, cases in chosen.items():
        row = figures[name] = compare(loaded, cases, args.tokens, max(1, args.rounds))
        print(
            f"{name:<20}{row['tokens']:>8,}{row['steps']:>8,}{row['acceptance']:>8.0%}"
            f"{row['plain_tokens_per_second']:>10,.1f}{row['lookup_tokens_per_second']:>10,.1f}{row['speed_up']:>10.2f}",
            flush=True,
        )
    result = {"artefact": str(args.model_dir), "scripted": args.scripted, "tasks": figures, "machine": machine}
    print(json.dumps({"bench": "lookup", **result}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
