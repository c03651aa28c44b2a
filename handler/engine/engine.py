"""Token ids in, token ids out, of several sequences at a time; the engine knows no text."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from handler.artefact import DESCRIPTION, GRAPH, Artefact
from handler.engine.cancellation import Cancellation
from handler.engine.constraint import Constraint
from handler.engine.costs import Costs
from handler.engine.drafting import NoDrafter, PromptLookup
from handler.engine.embedding import Embedded, Embedding, reusable
from handler.engine.kernels import cheap_rows, library_of
from handler.engine.sampling import Sampler, SamplingParams
from handler.engine.scoring import Scoring
from handler.engine.sequence import Answer, Token
from handler.engine.session import create_session
from handler.engine.slots import Prefix, Slots
from handler.engine.step import SHARED_ROWS, Step
from handler.engine.weights import Weights
from handler.errors import ArtefactDamaged, Cancelled, Interrupted
from handler.turns import stepped

T = TypeVar("T")
Work = Answer | Embedding | Scoring
WARM_UP_S = 0.005  # a few layers of a 3B model, all of a small one
PREFILL_WAIT_S = 0.4  # how long others may wait for a part of a prompt
QUERY_ROWS = 96  # of a block in the native attention's prefill, see docs/kernels.md
MOST_ROWS = 32  # of a step: above 47, AMX computes with other numbers than for one row
LONG_STEP_S = 0.01  # many times what it takes to wake another thread, also where others want the processors
MOST_READY = 16  # tokens that nobody has taken yet, then the sequence waits
KEPT_LOGITS = 8  # prompts whose last logits are kept, for further answers to them


@dataclass(frozen=True)
class EngineOptions:
    """How an engine works.

    Attributes:
        prefill_chunk: tokens of a prompt that are run at a time.
        slots: sequences that it works on at a time.
        keep_prefixes: whether a prompt uses what the cache still holds of its beginning.
        lookup: whether it guesses tokens that prompt or answer have had before.
        most_kept: tokens that a slot may hold when it is free; None for all.
    """

    prefill_chunk: int = 256
    slots: int = 1
    keep_prefixes: bool = True
    lookup: bool = True
    most_kept: int | None = None


class Engine:
    """A session, a cache of several slots, and the answers that are on their way."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        artefact: Artefact,
        options: EngineOptions | None = None,
        weights: Weights | None = None,
        rows: int = 1,
        prefixes: Sequence[Prefix] = (),
    ) -> None:
        """Allocate the cache; its pages cost no memory until they are written.

        Args:
            session: from `handler.engine.session.create_session`.
            artefact: what the session was made of.
            options: how it works.
            weights: what the session computes with, if it was given them: they stay mapped as long as the engine lives.
            rows: how many a step takes for little more than the time of one.
            prefixes: what prompts may begin with, computed before.
        """
        self.options = options or EngineOptions()
        self.context_length = artefact.context_length
        self.vocab_size = artefact.vocab_size
        options = self.options
        self.slots = Slots(artefact, options.slots, options.keep_prefixes, prefixes, options.most_kept)
        self.steps = Step(session, self.slots.cache, artefact.vocab_size)
        if artefact.embeddings is not None and self.steps.hidden_size != artefact.embeddings.size:
            raise ArtefactDamaged(
                f"{artefact.told}/{GRAPH} doesn't give the hidden states of {artefact.embeddings.size} elements "
                f"that {DESCRIPTION} makes embeddings of; export the model again"
            )
        self._weights = weights
        self._rows = rows if self.steps.batches else 1
        # Cut there, a chunk of a prompt gives the same bits as whole; stock operators promise no such thing.
        self._block = max(1, QUERY_ROWS * artefact.num_key_value_heads // artefact.num_attention_heads)
        self._divisible = artefact.kernels == "native"
        self._pooling = artefact.embeddings.pooling if artefact.embeddings else None
        self._answers: list[Work] = []
        self._known = OrderedDict[tuple[int, ...], NDArray[np.float32]]()  # prompt → logits behind it (1, vocab_size)
        self._lock = threading.RLock()
        self._decoded_at = 0.0
        self._prefill_rate = 0.0  # tokens per second
        self._oldest_first = False
        self._costs = Costs()

    @classmethod
    def load(
        cls,
        artefact: Artefact,
        threads: int,
        options: EngineOptions | None = None,
        kernels: Path | None = None,
        weights: Weights | None = None,
        prefixes: Sequence[Prefix] = (),
    ) -> Engine:
        """Create the session of an artefact and the engine around it.

        Args:
            artefact: from `handler.artefact.load_artefact`.
            threads: of the session.
            options: how the engine works.
            kernels: the library of native kernels; None for the package's own.
            weights: mapped already; None to let onnxruntime map them.
            prefixes: what prompts may begin with, computed before.

        Raises:
            ArtefactDamaged: onnxruntime refuses the graph.
            StartupError: the artefact asks for native kernels, which are missing or can't be used.
        """
        library = library_of(artefact, kernels)
        graph = artefact.path(GRAPH)
        held = bool(artefact.held)
        session = create_session(graph, threads, library=library, weights=weights, held=held)
        return cls(session, artefact, options, weights, cheap_rows(library) if library else 1, prefixes)

    def forget_times(self) -> None:
        """Measure anew: what was measured was another machine's, on a clock that may have jumped since."""
        with self._lock:
            self._decoded_at = self._prefill_rate = 0.0
            self._costs = Costs()

    def warm_up(self) -> None:
        """Work on a token for a moment, so that what can fail has failed before the first request.

        Not for all of a token: the first request would only have to wait for it.
        """
        cancellation = Cancellation()
        timer = threading.Timer(WARM_UP_S, cancellation.cancel)
        timer.daemon = True
        timer.start()
        with suppress(Cancelled):
            list(self.generate([0], SamplingParams(temperature=0), 1, (), cancellation))
        timer.cancel()

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        max_tokens: int,
        stop_ids: Collection[int],
        cancellation: Cancellation,
        constraint: Constraint | None = None,
    ) -> Generator[Token, None, None]:
        """Continue a prompt, and whatever else is on its way; `answer` with its steps."""
        answer = self.answer(prompt_ids, params, max_tokens, stop_ids, cancellation, constraint)
        return stepped(answer, self.step)

    def answer(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        max_tokens: int,
        stop_ids: Collection[int],
        cancellation: Cancellation,
        constraint: Constraint | None = None,
    ) -> Generator[Token | None, None, None]:
        """Continue a prompt.

        It takes a slot when the first token is asked for; closing it gives the slot back.

        Args:
            prompt_ids: at least one token id, each below `vocab_size`.
            params: how to choose.
            max_tokens: at most so many tokens; prompt and tokens together fit `context_length`.
            stop_ids: tokens that end the answer; they aren't given out.
            cancellation: ends it from outside.
            constraint: what may come next.

        Yields:
            tokens, fewer than `max_tokens` when a stop id came; None where it takes a `step` to go on.

        Raises:
            Cancelled: `cancellation` was used.
            LookupError: no slot is free; that is a bug of the caller.
            ValueError: the lengths or ids are out of range; that is a bug of the caller.
        """
        self._check(prompt_ids, max_tokens)
        answer = self._admit(prompt_ids, params, max_tokens, stop_ids, cancellation, constraint)
        try:
            yield from _items(answer, answer.ready)
        finally:
            self._dismiss(answer)

    def score(
        self, prompt_ids: Sequence[int], top_logprobs: int, cancellation: Cancellation
    ) -> Generator[Token | None, None, None]:
        """Say how likely each token of a prompt is behind those before it.

        All of it is run, whatever the cache holds; the cache then holds it. It takes a slot when the first token is
        asked for; closing it gives the slot back.

        Args:
            prompt_ids: from one token id to `context_length`, each below `vocab_size`.
            top_logprobs: how many alternatives to report with each token.
            cancellation: ends it from outside.

        Yields:
            the tokens from the second one on; None where it takes a `step` to go on.

        Raises:
            Cancelled: `cancellation` was used.
            LookupError: no slot is free; that is a bug of the caller.
            ValueError: the length or ids are out of range; that is a bug of the caller.
        """
        self._check(prompt_ids, 0, least=0)
        with self._lock:
            slot, _ = self.slots.take(())
            scoring = Scoring(prompt_ids, slot, top_logprobs, cancellation)
            self._answers.append(scoring)
        try:
            yield from _items(scoring, scoring.ready)
        finally:
            self._dismiss(scoring)

    def embed(self, prompt_ids: Sequence[int], cancellation: Cancellation) -> Generator[Embedded | None, None, None]:
        """Make a vector of a text, as the artefact says.

        It takes a slot when it is first asked; closing it gives the slot back.

        Args:
            prompt_ids: from one token id to `context_length`, each below `vocab_size`.
            cancellation: ends it from outside.

        Yields:
            the vector; before it None where it takes a `step` to go on.

        Raises:
            Cancelled: `cancellation` was used.
            LookupError: no slot is free; that is a bug of the caller.
            ValueError: the artefact gives no embeddings, or length or ids are out of range; that is a bug of the
                caller.
        """
        self._check(prompt_ids, 0, least=0)
        embedding = self._admit_embedding(prompt_ids, cancellation)
        try:
            yield from _items(embedding, embedding.ready)
        finally:
            self._dismiss(embedding)

    def step(self) -> None:
        """Bring the answers forward: a part of one prompt, or a token, with luck several, of each that decodes.

        What fails, fails in the generators of the answers that it concerns.
        """
        with self._lock:
            alive = [answer for answer in self._answers if not (answer.error or answer.cancellation.cancelled)]
            prefilling = self._next_prompt([answer for answer in alive if answer.prefilling])
            answers = [answer for answer in alive if isinstance(answer, Answer)]
            decoding = [answer for answer in answers if answer.decoding and len(answer.ready) < MOST_READY]
            waited_s = time.perf_counter() - self._decoded_at
            if prefilling is not None and (not decoding or waited_s < PREFILL_WAIT_S):
                self._prefill(prefilling)
            elif decoding:
                self._decode(decoding)
                self._decoded_at = time.perf_counter()

    def _next_prompt(self, answers: Sequence[Work]) -> Work | None:
        """The oldest, and every other time one that a part is enough for: a short one needn't wait for a long one."""
        self._oldest_first = not self._oldest_first
        if not self._oldest_first:
            most = self._most_part()
            short = (answer for answer in answers if answer.prompt_length - answer.position <= most)
            answers = [*short, *answers]
        return answers[0] if answers else None

    def _check(self, prompt_ids: Sequence[int], max_tokens: int, least: int = 1) -> None:
        if not prompt_ids or max_tokens < least or len(prompt_ids) + max_tokens > self.context_length:
            raise ValueError(f"{len(prompt_ids)} + {max_tokens} tokens in a context of {self.context_length}")
        if min(prompt_ids) < 0 or max(prompt_ids) >= self.vocab_size:
            raise ValueError(f"token ids beyond the vocabulary of {self.vocab_size}")

    def _admit(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        max_tokens: int,
        stop_ids: Collection[int],
        cancellation: Cancellation,
        constraint: Constraint | None,
    ) -> Answer:
        with self._lock:
            sampler = Sampler(params, prompt_ids, self.vocab_size)
            guesses = self.options.lookup and self._rows > 1
            drafter = PromptLookup(prompt_ids) if guesses else NoDrafter()
            known = self._known.get(tuple(prompt_ids))
            slot, cached = self.slots.take(prompt_ids, known is not None)
            answer = Answer(
                prompt_ids, slot, cached, sampler, params, max_tokens, stop_ids, cancellation, drafter, constraint
            )
            self._answers.append(answer)
            if known is not None and cached == len(prompt_ids):
                self._accept(answer, known)
            return answer

    def _admit_embedding(self, ids: Sequence[int], cancellation: Cancellation) -> Embedding:
        if self._pooling is None:
            raise ValueError("the artefact gives no embeddings")
        with self._lock:
            slot, cached = self.slots.take(reusable(ids, self._pooling))
            embedding = Embedding(ids, slot, cached, self._pooling, cancellation)
            self._answers.append(embedding)
            return embedding

    def _dismiss(self, answer: Work) -> None:
        with self._lock:
            self._answers.remove(answer)
            self.slots.hold(answer.slot, answer.ids[: answer.position])
            self.slots.release(answer.slot)

    def _prefill(self, answer: Work) -> None:
        """Run a part of a prompt; with the last one comes the first token, or the vector."""
        if answer.position == answer.cached_tokens and self._look_again(answer):
            return
        start, count = answer.position, self._part(answer)
        wanted = answer.wanted(count)
        ids = np.array([answer.ids[start : start + count]], dtype=np.int64)
        began = time.perf_counter()
        try:
            watched = [answer.cancellation]
            if isinstance(answer, Embedding):
                rows = self.steps.states(answer.slot, ids, start, wanted, watched)
            else:
                rows = self.steps.run([answer.slot], ids, [start], wanted, watched)
            answer.position += count
            # From now on, another prompt may begin as this one does.
            self.slots.hold(answer.slot, answer.ids[: answer.position])
            if answer.position == answer.prompt_length and not isinstance(answer, Embedding):
                self._know(answer.ids, rows[-1:])
            if len(rows):
                answer.accept(rows)
        except Interrupted:
            return
        except Exception as error:
            answer.error = error
        if isinstance(answer, Scoring):
            return
        rate = count / (time.perf_counter() - began)
        self._prefill_rate += (rate - self._prefill_rate) / (2 if self._prefill_rate else 1)

    def _look_again(self, answer: Work) -> bool:
        """Before a prompt's first part: use what others have found out meanwhile; tells whether it is all."""
        known = self._known.get(tuple(answer.ids)) if isinstance(answer, Answer) else None
        answer.position = self.slots.look_again(answer.slot, answer.reusable, known is not None)
        answer.cached_tokens = answer.position
        if known is None or not isinstance(answer, Answer) or answer.position < answer.prompt_length:
            return False
        self._accept(answer, known)
        return True

    def _accept(self, answer: Answer, logits: NDArray[np.float32]) -> None:
        try:
            answer.accept(logits)
        except Exception as error:
            answer.error = error

    def _know(self, ids: Sequence[int], logits: NDArray[np.float32]) -> None:
        """Keep what comes behind a prompt: the next answer to it then begins with the very same numbers."""
        if not self.options.keep_prefixes:
            return
        self._known[tuple(ids)] = logits.copy()
        self._known.move_to_end(tuple(ids))
        if len(self._known) > KEPT_LOGITS:
            self._known.popitem(last=False)

    def _part(self, answer: Work) -> int:
        """How many tokens of a prompt to run: the rest of a chunk, or less of it where others may be there or come."""
        if isinstance(answer, Scoring):  # whose logits would take much memory
            most = SHARED_ROWS // self._block * self._block or SHARED_ROWS
            return min(most, answer.prompt_length - answer.position)
        done = (answer.position - answer.cached_tokens) % self.options.prefill_chunk
        rest = min(self.options.prefill_chunk - done, answer.prompt_length - answer.position)
        if self.slots.count == 1 or not self._divisible:
            return rest
        part = self._most_part()
        # Whole blocks, and more than one left over: then no row of the attention notices the cut.
        return part if rest - part > self._block else rest

    def _most_part(self) -> int:
        """Tokens of a prompt that others may wait for, in whole blocks."""
        return max(2, int(self._prefill_rate * PREFILL_WAIT_S) // self._block) * self._block

    def _decode(self, answers: Sequence[Answer]) -> None:
        """Run the latest token of each answer, and what is guessed or forced behind it."""
        while answers := [answer for answer in answers if not answer.cancellation.cancelled]:
            count = len(answers)
            most = self._rows // count - 1
            forced = max(0, MOST_ROWS // count - 1) if self.steps.batches else 0
            long = self._costs.seconds(count) > LONG_STEP_S
            news: list[tuple[Answer, Sequence[int]]] = []
            for answer in answers:
                try:
                    guesses = self._costs.guesses(count, answer.chance, most)
                    news.append((answer, answer.next_ids(guesses, forced, long)))
                except Exception as error:
                    answer.error = error
            if len(news) < count:
                answers = [answer for answer, _ in news]
                continue  # without whose grammar broke
            entries = [(answer.slot, id, answer.position + at) for answer, ids in news for at, id in enumerate(ids)]
            slots, tokens, starts = zip(*entries, strict=True)
            choices = [answer.choice for answer, ids in news for _ in ids]
            watched = [answer.cancellation for answer in answers]
            began = time.perf_counter()
            try:
                column = np.array(tokens, dtype=np.int64)[:, None]
                logits = self.steps.run(slots, column, starts, range(len(entries)), watched, choices)
            except Interrupted:
                continue  # without who interrupted it
            except Exception as error:
                for answer in answers:
                    answer.error = error
                return
            self._costs.note(len(entries), time.perf_counter() - began)
            row = 0
            for answer, ids in news:
                try:
                    answer.accept(logits[row : row + len(ids)])
                except Exception as error:
                    answer.error = error
                row += len(ids)
            return


def _items(answer: Work, ready: deque[T]) -> Generator[T | None, None, None]:
    """What is ready of an answer, until it is over; None where there is nothing yet."""
    while True:
        if answer.cancellation.cancelled:
            raise Cancelled
        over = answer.ended or answer.error is not None  # looked at first: another thread may make the last one
        if ready:
            yield ready.popleft()
        elif not over:
            yield None
        elif answer.error is not None:
            raise answer.error
        else:
            return
