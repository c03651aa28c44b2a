"""Artefact directory → a model that can make a token; what is slow loads side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from handler.artefact import DESCRIPTION, TOKENIZER, WEIGHTS, Artefact, load_artefact
from handler.engine.kernels import library_of, library_path, populate_function
from handler.engine.memory import Room, plan_room
from handler.errors import ArtefactVersion, TemplateInvalid
from handler.settings import S3Prefix, Settings
from handler.start.background import Background
from handler.start.parts import Parts
from handler.start.populate import populate, read_ahead

if TYPE_CHECKING:  # Each of these costs a good part of start-up, so each is imported beside the others.
    from handler.api.options import Served
    from handler.api.prompt import Prompts
    from handler.engine.engine import Engine
    from handler.engine.slots import Prefix
    from handler.engine.weights import Weights
    from handler.model import Model
    from handler.start.download import Download
    from handler.text.families import Formats
    from handler.text.template import ChatTemplate
    from handler.text.tokenizer import Tokenizer

TEMPLATE = "chat_template.jinja"
# Where processors are short, the imports go first: all else has time until they are done.
TOKENIZER_NICE = 5
POPULATE_NICE = 19
# Starts that no request waits for. In all others a first prompt reads its layers while later ones are still loading.
AHEAD = ("provisioned-concurrency", "snap-start")


def load_model(
    settings: Settings,
    threads: int,
    imports: Sequence[str] = (),
    on_engine_imported: Callable[[], None] | None = None,
    memory: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Model, Parts]:
    """Load the artefact that the settings name.

    Args:
        settings: Where it is and how it is checked.
        threads: How many the engine uses.
        imports: Modules that the caller needs next: imported while the weights are read.
        on_engine_imported: Called then: imports take turns and the engine's go first, so other work begins no sooner.
        memory: Bytes that there are for all, if the number of slots is to come from them.
        environ: Where AWS's region, endpoint and credentials are, for a model in S3.

    Returns:
        The model, and how long each part took in milliseconds; parts overlap.

    Raises:
        ArtefactError: The directory can't be served, or one of its prefixes.
        DownloadError: The model can't be had from S3.
        StartupError: Tokenizer or template can't be read.
    """
    parts = Parts()
    download = begin_download(settings, environ or {})
    checked = Background(lambda: parts.timed("verify", lambda: _check(settings, download)))
    # kitoken's allocator takes the thread that imports it for the one that never ends, and crashes when it does.
    parts.timed("import_tokenizer", lambda: import_module("handler.text.tokenizer"))
    tokenizer = Background(lambda: parts.timed("tokenizer", lambda: load_tokenizer(checked.result())), TOKENIZER_NICE)
    weights = Background(lambda: _map_weights(checked.result(), settings, download))
    populated = Background(lambda: _populate(checked.result(), weights.result(), settings, parts), POPULATE_NICE)
    # Imports hold Python's lock and so take turns; the engine's come first, for it is then made without it.
    parts.timed("import_engine", lambda: import_module("handler.engine.engine"))
    artefact = checked.result()
    if download is not None:
        for name in artefact.prefixes:
            download.result().wait(name)
    prefixes = load_prefixes(artefact, settings)  # headers only, so before the session is made: they may be refused
    room = None if memory is None else plan_room(artefact, memory, settings.slots)
    engine = Background(lambda: _load_engine(artefact, weights.result(), prefixes, settings, room, threads, parts))
    if on_engine_imported is not None:
        on_engine_imported()
    parts.timed("import_rest", lambda: [import_module(name) for name in imports])
    template = parts.timed("template", lambda: load_template(artefact))
    prompts = make_prompts(artefact, tokenizer.result(), template)
    model = _model(artefact, settings, engine.result(), prompts, prefixes, room)
    if settings.initialization in AHEAD:
        populated.result()
    if download is not None:
        download.result().tell(parts)
    return model, parts


def begin_download(settings: Settings, environ: Mapping[str, str]) -> Background[Download] | None:
    """Begin to load a model that lies in S3; None for one in a directory."""
    at, prefixes = settings.model_dir, settings.prefix_cache
    if not isinstance(at, S3Prefix):
        return None

    def begun() -> Download:
        from handler.start.download import begin

        return begin(at, environ, prefixes)

    return Background(begun)


def _check(settings: Settings, download: Background[Download] | None) -> Artefact:
    if download is not None:
        return download.result().describe()
    assert isinstance(settings.model_dir, Path)
    return load_artefact(settings.model_dir, settings.verify)


def _map_weights(artefact: Artefact, settings: Settings, download: Background[Download] | None) -> Weights | None:
    if download is not None:
        download.result().wait(WEIGHTS)
    elif library_of(artefact, settings.kernels) is None:
        return None  # onnxruntime's kernels pack what they read: the file is read once, and not where it is mapped
    from handler.engine.weights import Weights

    return Weights(artefact.path(WEIGHTS))


def _populate(artefact: Artefact, weights: Weights | None, settings: Settings, parts: Parts) -> None:
    if not settings.populate:
        return
    if library_of(artefact, settings.kernels) is not None and weights is not None:
        function = populate_function(library_path(settings.kernels))
        parts.timed("populate", lambda: populate(weights, function))
    elif settings.verify == "quick" and not artefact.held:  # otherwise all of it has just been read
        parts.timed("populate", lambda: read_ahead(artefact.path(WEIGHTS)))
    if settings.verify == "quick" and settings.prefix_cache and not artefact.held:
        for name in artefact.prefixes:
            read_ahead(artefact.path(name))


def _load_engine(
    artefact: Artefact,
    weights: Weights | None,
    prefixes: Sequence[Prefix],
    settings: Settings,
    room: Room | None,
    threads: int,
    parts: Parts,
) -> Engine:
    from handler.engine.engine import Engine, EngineOptions

    slots, most_kept = (settings.slots or 1, None) if room is None else (room.slots, room.kept)
    options = EngineOptions(settings.prefill_chunk, slots, settings.prefix_cache, settings.lookup, most_kept)
    load = Engine.load
    engine = parts.timed("session", lambda: load(artefact, threads, options, settings.kernels, weights, prefixes))
    parts.timed("warm_up", engine.warm_up)
    return engine


def load_prefixes(artefact: Artefact, settings: Settings) -> Sequence[Prefix]:
    """Map the caches that were computed at export.

    Returns:
        None of them where prompts may not use what the cache holds.

    Raises:
        PrefixDamaged: A file isn't what the format says.
        PrefixMismatch: A file belongs to another artefact.
    """
    if not (artefact.prefixes and settings.prefix_cache):
        return ()
    from handler.engine.prefixes import read_prefix

    return [read_prefix(artefact.path(name), artefact) for name in artefact.prefixes]


def load_tokenizer(artefact: Artefact) -> Tokenizer:
    """Load what turns text into ids and back.

    Raises:
        TokenizerError: It can't be read.
    """
    from handler.text.tokenizer import Tokenizer

    return Tokenizer.load(artefact.path(TOKENIZER), artefact.prefix_ids, artefact.suffix_ids)


def load_template(artefact: Artefact) -> ChatTemplate | None:
    """Load the chat template; None for a base model, which has none.

    Raises:
        ArtefactVersion: The model writes calls or thoughts in a way that this handler doesn't know.
        TemplateInvalid: It can't be read or compiled.
    """
    path = artefact.path(TEMPLATE)
    if not path.exists():
        return None
    from handler.text.template import ChatTemplate  # jinja2: not needed for base models

    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateInvalid(f"{path}: {error}; export the model again") from error
    return ChatTemplate(source, artefact.special_tokens, _formats(artefact, source))


def _formats(artefact: Artefact, template: str) -> Formats:
    """Look up how the model writes calls and thoughts; artefacts from before there were tools don't say."""
    from handler.text.families import REASONING_FORMATS, TOOL_FORMATS, Formats, detect

    told = detect(template)
    tools, reasoning = artefact.tool_format or told.tools, artefact.reasoning_format or told.reasoning
    for name, value, known in (
        ("tool_format", tools, TOOL_FORMATS),
        ("reasoning_format", reasoning, REASONING_FORMATS),
    ):
        if value not in known:
            raise ArtefactVersion(
                f"{artefact.told}/{DESCRIPTION} has {name} {value!r}, this handler knows {', '.join(known)}"
            )
    return Formats(tools, reasoning)


def make_prompts(artefact: Artefact, tokenizer: Tokenizer, template: ChatTemplate | None) -> Prompts:
    """Put together what prompts are made with."""
    from handler.api.prompt import Prompts
    from handler.text.grammars import Grammars

    grammars = Grammars(tokenizer, artefact.vocab_size, artefact.eos_token_ids)
    return Prompts(tokenizer, template, artefact.model_id, artefact.context_length, grammars)


def make_served(artefact: Artefact, settings: Settings) -> Served:
    """Put together what requests are held against."""
    from handler.api.options import Served

    defaults = artefact.sampling_defaults
    return Served(
        artefact.model_id,
        artefact.vocab_size,
        defaults,
        settings.max_tokens,
        settings.max_tokens_cap,
        settings.model_aliases,
        artefact.embeddings,
    )


def _model(
    artefact: Artefact,
    settings: Settings,
    engine: Engine,
    prompts: Prompts,
    prefixes: Sequence[Prefix],
    room: Room | None,
) -> Model:
    from handler.billing import make_bill
    from handler.engine.cancellation import Cancellation
    from handler.model import Model

    return Model(
        served=make_served(artefact, settings),
        prompts=prompts,
        vocabulary=prompts.tokenizer,
        generate=engine.answer,
        score=engine.score,
        embed=engine.embed,
        step=engine.step,
        slots=engine.slots.count,
        new_cancellation=Cancellation,
        stop_ids=artefact.eos_token_ids,
        fingerprint=artefact.fingerprint,
        created=artefact.created,
        context_length=artefact.context_length,
        prefixes=tuple(len(prefix.ids) for prefix in prefixes),
        room=room,
        bill=make_bill(settings),
        forget_times=engine.forget_times,
    )
