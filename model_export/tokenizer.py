"""The artefact's tokenizer files: tokenizer.json as it is, the same in kitoken's binary form, the chat template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kitoken import Kitoken
from tokenizers import Tokenizer

from model_export.config import read_json, token_ids
from model_export.errors import ConfigInvalid, TokenizerInvalid
from model_export.files import Files

TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_BINARY = "tokenizer.kit"
CHAT_TEMPLATE = "chat_template.jinja"
END_OF_MESSAGE = "<|eom_id|>"
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")
# What generation_config.json may recommend: key → smallest and largest value.
SAMPLING: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "top_k": (0, 2**31 - 1),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.01, 100.0),
}

# Where tokenizers differ if they do: spaces, line ends, digits, accents, scripts, emoji, code, control characters.
PROBES = (
    "Hello, world!",
    " leading and trailing ",
    "tabs\tand\nlines\r\n\r\nand   runs   of    spaces",
    "I'll we've they're it's don't I'LL WE'VE",
    "1 12 123 1234 12345.678 3,141 -1 1e-9 2024-11-21",
    "Ünïcödé: naïve café, Straße, e\u0301 and é, ﬁ, ﷺ, Ⅷ, ½",
    "中文字符和日本語の文字、한국어 문장, русский текст, ελληνικά, עברית, العربية, हिन्दी, ไทย",
    "emoji 🙂🙃👩‍👩‍👧‍👦🏳️‍🌈🇨🇭 and symbols ∑∂√∞≠≤ «quotes» “curly” — dash…",
    'def f(x: int) -> str:\n    return f"{x!r}"  # comment\n\tif a<=b && c!=d: {[()]}',
    "<html><body class='x'>&amp;</body></html> https://example.com/a?b=c&d=%20",
    "\u0000\u0001\u200b\u200d\ufeff\u00a0\u2028\ufffd",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa !!!!!!!!!!!!!! \n\n\n\n",
    "",
    " ",
    "\n",
)


class TokenIds(Protocol):
    """What a model's config says of its tokens."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def bos_token_id(self) -> int | None: ...

    @property
    def eos_token_ids(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class TokenizerFacts:
    """What the handler must know beyond the tokenizer's own files.

    Attributes:
        special_tokens: texts of bos_token, eos_token, unk_token and pad_token, as far as there are any.
        bos_token_id: the beginning of text.
        eos_token_ids: tokens that end an answer.
        prefix_ids: what the tokenizer puts before a text by itself.
        suffix_ids: what it puts behind one.
        chat_template: the Jinja template, None for a base model.
    """

    special_tokens: Mapping[str, str]
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    chat_template: str | None

    def described(self) -> dict[str, Any]:
        """What firebrick.json says of them."""
        return {
            **{name: self.special_tokens.get(name) for name in SPECIAL_TOKENS},
            "bos_token_id": self.bos_token_id,
            "eos_token_ids": list(self.eos_token_ids),
            "prefix_ids": list(self.prefix_ids),
            "suffix_ids": list(self.suffix_ids),
        }


def load_tokenizer(directory: Files) -> Tokenizer:
    """Load tokenizer.json with the reference library.

    Raises:
        TokenizerInvalid: it is missing or malformed.
    """
    path = directory / TOKENIZER_JSON
    if not path.is_file():
        hint = ""
        if (directory / "tokenizer.model").is_file():
            hint = "; convert tokenizer.model with transformers: AutoTokenizer.from_pretrained(…).save_pretrained(…)"
        raise TokenizerInvalid(f"{path} is missing{hint}")
    try:
        tokenizer = Tokenizer.from_buffer(path.read_bytes())
    except Exception as error:  # the library raises plain Exception
        raise TokenizerInvalid(f"{path} can't be loaded: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_facts(directory: Files, config: TokenIds, tokenizer: Tokenizer) -> TokenizerFacts:
    """Gather what the checkpoint's small files say about special tokens and chat.

    Raises:
        ConfigInvalid: one of them isn't JSON, or holds ids of the wrong type.
        TokenizerInvalid: the vocabulary and config.json contradict each other.
    """
    raw = read_json(directory / "tokenizer_config.json", missing_ok=True)
    generation = read_json(directory / "generation_config.json", missing_ok=True)
    special = {name: text for name in SPECIAL_TOKENS if (text := _token_text(raw.get(name))) is not None}
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= config.vocab_size:
        raise TokenizerInvalid(
            f"tokenizer.json has a token with id {largest}, but vocab_size in config.json is {config.vocab_size}"
        )
    eos = set(token_ids(generation.get("eos_token_id"), "eos_token_id in generation_config.json"))
    eos |= set(config.eos_token_ids) if not eos else set()
    eos_id = tokenizer.token_to_id(special["eos_token"]) if "eos_token" in special else None
    eos |= set() if eos_id is None else {eos_id}
    # Llama 3.1 ends a call with it where another turn is the tool's; not every finetune's configuration says so.
    eom_id = tokenizer.token_to_id(END_OF_MESSAGE)
    eos |= set() if eom_id is None else {eom_id}
    if any(i >= config.vocab_size for i in eos):
        raise TokenizerInvalid(f"eos_token_id {max(eos)} is outside of the vocabulary of {config.vocab_size}")
    bos = tokenizer.token_to_id(special["bos_token"]) if "bos_token" in special else config.bos_token_id
    prefix, suffix = _affixes(tokenizer)
    return TokenizerFacts(special, bos, tuple(sorted(eos)), prefix, suffix, _chat_template(directory, raw))


def _token_text(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _affixes(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Find what the post-processor adds around a text."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return tuple(full[:start]), tuple(full[start + len(plain) :])
    raise TokenizerInvalid(f"tokenizer.json's post-processor changes tokens ({plain} → {full}); that isn't supported")


def _chat_template(directory: Files, raw: Mapping[str, Any]) -> str | None:
    path = directory / CHAT_TEMPLATE
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TokenizerInvalid(f"{path} can't be read: {error}") from None
    template = raw.get("chat_template")
    if isinstance(template, list):  # several named ones
        defaults = [t for t in template if isinstance(t, dict) and t.get("name") == "default"]
        template = defaults[0].get("template") if defaults else None
    if template is not None and not isinstance(template, str):
        raise TokenizerInvalid("chat_template in tokenizer_config.json is neither a text nor a list of named ones")
    return template


def write_binary(directory: Path, source: Path) -> None:
    """Convert tokenizer.json to kitoken's form, beside it.

    Raises:
        TokenizerInvalid: kitoken doesn't know how to do what tokenizer.json asks for.
    """
    try:
        tokenizer = json.loads(source.read_bytes())
        # Of tokens that begin at the same place tokenizers takes the longest, kitoken the first listed (Gemma has all
        # runs of blanks, the shortest first).
        tokenizer.get("added_tokens", []).sort(key=lambda token: -len(token["content"]))
        binary = Kitoken.from_tokenizers(json.dumps(tokenizer).encode()).to_bytes()
    except Exception as error:  # the library raises plain Exception and ValueError
        raise TokenizerInvalid(f"{source} can't be converted to kitoken's form: {error}") from None
    (directory / TOKENIZER_BINARY).write_bytes(binary)  # an error of the disk isn't the tokenizer's


def check_parity(tokenizer: Tokenizer, binary: Path, chat_template: str | None = None) -> int:
    """Compare the two forms on the probe texts, on every added token, and on the chat template's own text.

    Returns:
        number of texts compared.

    Raises:
        TokenizerInvalid: kitoken can't load the binary form, or gives other ids or another text; the message has
            the first text that differs.
    """
    content = binary.read_bytes()
    if not content:
        raise TokenizerInvalid(f"{binary} can't be loaded: it is empty")  # the library aborts the process over it
    try:
        fast = Kitoken(content)
    except Exception as error:  # the library raises plain Exception
        raise TokenizerInvalid(f"{binary} can't be loaded: {error}") from None
    count = 0
    for text in _probe_texts(tokenizer, chat_template):
        expected = tokenizer.encode(text, add_special_tokens=False).ids
        ids = list(fast.encode(text, True))
        if ids != expected:
            raise TokenizerInvalid(f"the two forms of the tokenizer differ on {text!r}: {expected} and {ids}")
        plain = tokenizer.decode(expected, skip_special_tokens=True)
        decoded = fast.decode(ids, False).decode("utf-8", errors="replace")
        if decoded != plain:
            raise TokenizerInvalid(f"the two forms of the tokenizer decode {ids} to {plain!r} and {decoded!r}")
        count += 1
    return count


def _probe_texts(tokenizer: Tokenizer, chat_template: str | None) -> Iterator[str]:
    yield from PROBES
    yield from [chat_template] if chat_template else []
    for token in tokenizer.get_added_tokens_decoder().values():
        yield token.content
        yield f"before {token.content} after{token.content}\n"


def write_files(stage: Path, directory: Files, facts: TokenizerFacts, reference: Tokenizer) -> None:
    """Write the tokenizer's files into an artefact, and hold both forms against each other.

    Raises:
        TokenizerInvalid: they differ, or there is no binary form of this tokenizer.
    """
    for name, content in tokenizer_files(directory, facts).items():
        (stage / name).write_bytes(content)
    write_binary(stage, stage / TOKENIZER_JSON)
    check_parity(reference, stage / TOKENIZER_BINARY, facts.chat_template)


def tokenizer_files(directory: Files, facts: TokenizerFacts) -> dict[str, bytes]:
    """The tokenizer's text files for the artefact: name → content."""
    files = {TOKENIZER_JSON: (directory / TOKENIZER_JSON).read_bytes()}
    if facts.chat_template is not None:
        files[CHAT_TEMPLATE] = facts.chat_template.encode()
    return files


def sampling_defaults(directory: Files) -> dict[str, float | int]:
    """Sampling that the checkpoint's authors recommend in generation_config.json.

    Raises:
        ConfigInvalid: a value is no number, or out of its range.
    """
    generation = read_json(directory / "generation_config.json", missing_ok=True)
    defaults: dict[str, float | int] = {}
    for key, (low, high) in SAMPLING.items():
        value = generation.get(key)
        if value is None:
            continue
        kind = int if isinstance(low, int) else int | float
        if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
            what = "an integer" if kind is int else "a number"
            raise ConfigInvalid(f"{key} in generation_config.json is {value!r}: expected {what} from {low} to {high}")
        defaults[key] = value
    if generation.get("do_sample") is False:
        defaults["temperature"] = 0.0
    return defaults
