"""A model whose tokens are bytes, and an engine whose timing the test controls."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

import httpx
import numpy as np
from kitoken import Kitoken
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as ReferenceTokenizer

from handler.access.keys import AnyKey, FixedKey, Keys
from handler.api.options import Served
from handler.api.prompt import Prompts
from handler.artefact import Embeddings, SamplingDefaults
from handler.billing import make_bill
from handler.engine.cancellation import Cancellation
from handler.engine.constraint import Constraint
from handler.engine.embedding import Embedded
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from handler.errors import Cancelled
from handler.http.app import create_app
from handler.http.connections import Bounds, Connections, connection_limit
from handler.http.hooks import Hooks
from handler.http.listener import listen, open_socket
from handler.http.server import Server
from handler.logs import Log
from handler.metrics import Metrics
from handler.model import Model
from handler.scheduler import Scheduler
from handler.settings import Settings
from handler.snapshot import Snapshot
from handler.text.deltas import Delta
from handler.text.grammars import Grammars
from handler.text.template import ChatTemplate
from handler.text.tokenizer import Tokenizer

BOS, EOS = 256, 257
EMBEDDING_SIZE = 8
VOCAB_SIZE = 300  # beyond the tokenizer's 258, as padded models have it
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


def reference_tokenizer() -> ReferenceTokenizer:
    """A tokenizer whose ids 0…255 are the bytes."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))  # GPT-2's characters for the bytes that can't be printed
    vocabulary = {chr(byte if byte in printable else next(others)): byte for byte in range(256)}
    reference = ReferenceTokenizer(models.BPE(vocab=vocabulary, merges=[]))
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    reference.decoder = decoders.ByteLevel()
    reference.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    return reference


def byte_tokenizer() -> Tokenizer:
    """The same for the handler, with a BOS before raw texts."""
    return Tokenizer(Kitoken.from_tokenizers(reference_tokenizer().to_str().encode()), prefix_ids=[BOS])


@dataclass
class ScriptedEngine:
    """Says the same text to everybody, a byte a token.

    Attributes:
        text: What it says.
        gate: A token is made only while this is set.
        fail_after: Raise after so many tokens.
        hold_after: Make no more after so many, until the generation is cancelled.
        calls: The prompts that it was asked.
        cached_tokens: How many of the prompt's tokens it claims to have had in its cache.
        closed: How many generations have ended, in whatever way.
        scored: The prompts whose scores were asked for.
    """

    text: str = "hello world"
    fail_after: int | None = None
    hold_after: int | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    cached_tokens: int = 0
    calls: list[list[int]] = field(default_factory=list)
    closed: int = 0
    scored: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        max_tokens: int,
        stop_ids: Collection[int],
        cancellation: Cancellation,
        constraint: Constraint | None = None,
        /,
    ) -> Generator[Token, None, None]:
        """Yield the text's bytes."""
        self.calls.append(list(prompt_ids))
        try:
            for count, byte in enumerate(self.text.encode()[:max_tokens]):
                self._wait(cancellation)
                while count == self.hold_after:
                    self._wait(cancellation)
                    time.sleep(0.001)
                if count == self.fail_after:
                    raise RuntimeError("the engine broke")
                top = tuple((byte + n, -1.0 - n) for n in range(params.top_logprobs or 0))
                logprob = None if params.top_logprobs is None else -0.5
                yield Token(byte, logprob, top, self.cached_tokens)
        finally:
            self.closed += 1

    def score(
        self, prompt_ids: Sequence[int], top_logprobs: int, cancellation: Cancellation, /
    ) -> Generator[Token, None, None]:
        """Find each token of the prompt less likely than the one before."""
        self.scored.append(list(prompt_ids))
        for place, id in enumerate(prompt_ids[1:], 1):
            self._wait(cancellation)
            yield Token(id, -float(place), tuple((id + n, -float(place) - n) for n in range(top_logprobs)))

    def embed(self, prompt_ids: Sequence[int], cancellation: Cancellation, /) -> Generator[Embedded, None, None]:
        """Yield a vector of as many ones as there are ids, then zeros."""
        self.calls.append(list(prompt_ids))
        try:
            self._wait(cancellation)
            while len(self.calls) - 1 == self.hold_after:
                self._wait(cancellation)
                time.sleep(0.001)
            vector = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
            vector[: len(prompt_ids)] = 1
            yield Embedded(vector, self.cached_tokens)
        finally:
            self.closed += 1

    def _wait(self, cancellation: Cancellation) -> None:
        while not self.gate.wait(0.001) or cancellation.cancelled:
            if cancellation.cancelled:
                raise Cancelled


def byte_prompts(template: str | None, context_length: int = 200) -> Prompts:
    """What the byte model's prompts are made with."""
    chat = ChatTemplate(template, {"bos_token": "<s>"}) if template else None
    tokenizer = byte_tokenizer()
    return Prompts(tokenizer, chat, "owner/bytes", context_length, Grammars(tokenizer, VOCAB_SIZE, [EOS]))


def byte_model(
    engine: ScriptedEngine, context_length: int, template: str | None, embeddings: Embeddings | None = None
) -> Model:
    """A model around the engine."""
    prompts = byte_prompts(template, context_length)
    return Model(
        served=Served("owner/bytes", VOCAB_SIZE, SamplingDefaults(), embeddings=embeddings),
        prompts=prompts,
        vocabulary=prompts.tokenizer,
        generate=engine.generate,
        score=engine.score,
        embed=engine.embed,
        step=lambda: None,
        slots=1,
        new_cancellation=Cancellation,
        stop_ids=frozenset([EOS]),
        fingerprint="fp",
        created=1,
        context_length=context_length,
    )


@dataclass
class Serving:
    """A server in this process."""

    client: httpx.Client
    log: StringIO
    engine: ScriptedEngine
    connections: Connections


@contextmanager
def serving(
    engine: ScriptedEngine | None = None,
    template: str | None = TEMPLATE,
    texts: bool = False,
    context_length: int = 200,
    keys: Keys | None = None,
    embeddings: Embeddings | None = None,
    snapshot: Snapshot | None = None,
    **settings: object,
) -> Iterator[Serving]:
    """Serve a byte model on a free port."""
    engine = engine or ScriptedEngine()
    chosen = Settings(Path("."), **settings)  # type: ignore[arg-type]  # names and types are Settings' own
    log = StringIO()
    scheduler: Scheduler[Delta] = Scheduler(chosen.queue)
    chosen_keys: Keys = keys or (FixedKey(chosen.api_key) if chosen.api_key else AnyKey())
    metrics = Metrics(Log(log), "Firebrick", "firebrick-stream") if chosen.function_name else None
    model = replace(byte_model(engine, context_length, template, embeddings), bill=make_bill(chosen))
    app = create_app(
        model, scheduler, chosen, Log(log, texts), chosen_keys, metrics, Hooks(snapshot, chosen) if snapshot else None
    )
    bounds = Bounds(connection_limit(chosen.connections), chosen.head_s, chosen.keep_alive_s)
    ready = threading.Event()
    connections = Connections(bounds, Log(log))
    server = Server(app, scheduler, chosen.shutdown_grace_s, ready.set, connections)
    opened = open_socket("127.0.0.1", 0)
    url = listen(opened)
    thread = threading.Thread(target=server.run, args=([opened],), daemon=True)
    thread.start()
    assert ready.wait(20)
    with httpx.Client(base_url=url, timeout=20) as client:
        yield Serving(client, log, engine, connections)
    engine.gate.set()
    server.should_exit = True
    thread.join(10)
