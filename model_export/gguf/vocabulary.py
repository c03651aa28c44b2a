"""A GGUF file's vocabulary → tokenizer.json and tokenizer_config.json of the same tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from model_export.errors import TokenizerInvalid, TokenizerUnsupported
from model_export.gguf.config import Keys
from model_export.gguf.pretokenizers import PRE_TOKENIZERS

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "\u2581"  # what a space is in SentencePiece's vocabularies
# Control tokens that end an answer whatever the file says of them, as in llama.cpp.
ENDS = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<|end_of_text|>")
SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a file.

    Attributes:
        tokens: their texts, by id; a byte-level vocabulary writes bytes as visible characters.
        kinds: ggml's kind of each.
        special: id by tokenizer_config.json's name, of those that there are.
    """

    tokens: Sequence[str]
    kinds: Sequence[int]
    special: Mapping[str, int]

    @cached_property
    def by_text(self) -> dict[str, int]:
        """Ids by text, without those that only fill the embedding up."""
        return {text: i for i, text in enumerate(self.tokens) if self.kinds[i] != UNUSED}

    @property
    def added(self) -> list[dict[str, Any]]:
        """What is found in a text before anything else, as tokenizer.json lists it."""
        common = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        kinds = {UNKNOWN: True, CONTROL: True, USER_DEFINED: False}
        return [
            {"id": i, "content": text, **common, "special": kinds[self.kinds[i]]}
            for i, text in enumerate(self.tokens)
            if self.kinds[i] in kinds and text
        ]


def read_vocabulary(keys: Keys) -> Vocabulary:
    """Read the tokens.

    Raises:
        ConfigInvalid: a value has the wrong type.
        TokenizerInvalid: there are none, two are the same, or the lists and ids contradict each other.
    """
    path, tokens = keys.model.path, keys.texts("tokenizer.ggml.tokens")
    if not tokens:
        raise TokenizerInvalid(f"{path} has no tokens: tokenizer.ggml.tokens is missing or empty")
    kinds = keys.numbers("tokenizer.ggml.token_type")
    listed = [NORMAL] * len(tokens) if kinds is None else [int(kind) for kind in kinds]
    if len(listed) != len(tokens):
        raise TokenizerInvalid(f"{path} has {len(tokens)} tokens and {len(listed)} of tokenizer.ggml.token_type")
    special = {}
    for name, ours in SPECIAL.items():
        index = keys.integer(f"tokenizer.ggml.{ours}_token_id", least=0)
        if index is not None:
            special[name] = _checked(index, f"tokenizer.ggml.{ours}_token_id", len(tokens), path)
    vocabulary = Vocabulary(tokens, listed, special)
    twice = next((text for i, text in enumerate(tokens) if vocabulary.by_text.get(text, i) != i), None)
    if twice is not None:
        raise TokenizerInvalid(f"{path} has the token {twice!r} twice")
    return vocabulary


def _checked(index: int, key: str, count: int, path: object) -> int:
    if index >= count:
        raise TokenizerInvalid(f"{path}: {key} is {index}, but there are {count} tokens")
    return index


def tokenizer(keys: Keys, vocabulary: Vocabulary) -> dict[str, Any]:
    """Say the tokenizer as tokenizer.json does.

    Raises:
        ConfigInvalid: a value has the wrong type.
        TokenizerInvalid: merges or scores are missing or malformed.
        TokenizerUnsupported: its kind, or its way to cut text, isn't one that we know.
    """
    kind = keys.text("tokenizer.ggml.model")
    if kind == "gpt2":
        parts, adds_bos = _byte_level(keys, vocabulary)
    elif kind == "llama":
        parts, adds_bos = _sentencepiece(keys, vocabulary), True
    else:
        raise TokenizerUnsupported(f"{keys.model.path}: tokenizer {kind!r} isn't supported; these are: gpt2, llama")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocabulary.added,
        **parts,
        "post_processor": _post_processor(keys, vocabulary, adds_bos),
    }


def _byte_level(keys: Keys, vocabulary: Vocabulary) -> tuple[dict[str, Any], bool]:
    path, name = keys.model.path, keys.text("tokenizer.ggml.pre")
    if name is None:
        raise TokenizerUnsupported(
            f"{path} is too old to say how text is cut into words (tokenizer.ggml.pre): use a newer file"
        )
    if name not in PRE_TOKENIZERS:
        known = ", ".join(sorted(PRE_TOKENIZERS))
        raise TokenizerUnsupported(f"{path}: pre-tokenizer {name!r} isn't supported; these are: {known}")
    merges = keys.texts("tokenizer.ggml.merges")
    if merges is None:
        raise TokenizerInvalid(f"{path} has no tokenizer.ggml.merges")
    pairs = [merge.split(" ") for merge in merges]
    wrong = next((merge for merge, pair in zip(merges, pairs, strict=True) if len(pair) != 2 or "" in pair), None)
    if wrong is not None:
        raise TokenizerInvalid(f"{path}: the merge {wrong!r} isn't two texts with a space between")
    chosen = PRE_TOKENIZERS[name]
    model = {**_BPE, "ignore_merges": chosen.ignore_merges, "vocab": vocabulary.by_text, "merges": pairs}
    parts = {
        "normalizer": {"type": chosen.normalizer} if chosen.normalizer else None,
        "pre_tokenizer": chosen.description(),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": model,
    }
    return parts, chosen.adds_bos


_BPE: Mapping[str, Any] = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


def _sentencepiece(keys: Keys, vocabulary: Vocabulary) -> dict[str, Any]:
    path, scores = keys.model.path, keys.numbers("tokenizer.ggml.scores")
    if scores is None or len(scores) != len(vocabulary.tokens):
        raise TokenizerInvalid(f"{path}: tokenizer.ggml.scores has not one for each of {len(vocabulary.tokens)} tokens")
    for key in ("tokenizer.ggml.precompiled_charsmap", "tokenizer.ggml.remove_extra_whitespaces"):
        value = keys.model.metadata.get(key)
        if value is not None and value is not False:
            raise TokenizerUnsupported(f"{path}: {key} isn't supported")
    prefix = keys.boolean("tokenizer.ggml.add_space_prefix", True)
    unknown = vocabulary.special.get("unk_token")
    replace: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    back = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefix:
        replace = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, replace]}
        back.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    model = {
        **_BPE,
        "unk_token": None if unknown is None else vocabulary.tokens[unknown],
        "fuse_unk": True,
        "byte_fallback": vocabulary.kinds.count(BYTE) == 256,
        "vocab": vocabulary.by_text,
        "merges": merges_by_score(vocabulary, scores.tolist()),
    }
    decoder = {"type": "Sequence", "decoders": back}
    return {"normalizer": replace, "pre_tokenizer": None, "decoder": decoder, "model": model}


def merges_by_score(vocabulary: Vocabulary, scores: Sequence[float]) -> list[tuple[str, str]]:
    """The pairs that make a piece, the best pieces' first: SentencePiece joins whatever gives the best score."""
    pieces = {text: i for i, text in enumerate(vocabulary.tokens) if vocabulary.kinds[i] == NORMAL}
    found = []
    for text, i in pieces.items():
        for cut in range(1, len(text)):
            left, right = pieces.get(text[:cut]), pieces.get(text[cut:])
            if left is not None and right is not None:
                found.append((-scores[i], left, right, text[:cut], text[cut:]))
    found.sort(key=lambda pair: pair[:3])
    return [(left, right) for *_, left, right in found]


def _post_processor(keys: Keys, vocabulary: Vocabulary, adds_bos: bool) -> dict[str, Any] | None:
    """What is put around a text, or None for nothing."""
    wanted = {
        "bos_token": keys.boolean("tokenizer.ggml.add_bos_token", adds_bos),
        "eos_token": keys.boolean("tokenizer.ggml.add_eos_token", False),
    }
    around = {}
    for name, is_wanted in wanted.items():
        index = vocabulary.special.get(name)
        if is_wanted and index is not None:
            around[name] = {"id": vocabulary.tokens[index], "ids": [index], "tokens": [vocabulary.tokens[index]]}
    if not around:
        return None

    def template(letter: str, kind: int) -> list[dict[str, Any]]:
        sequence = {"Sequence": {"id": letter, "type_id": kind}}
        specials = {n: {"SpecialToken": {"id": s["id"], "type_id": kind}} for n, s in around.items()}
        return [part for part in (specials.get("bos_token"), sequence, specials.get("eos_token")) if part]

    return {
        "type": "TemplateProcessing",
        "single": template("A", 0),
        "pair": template("A", 0) + template("B", 1),
        "special_tokens": {special["id"]: special for special in around.values()},
    }


def tokenizer_config(keys: Keys, vocabulary: Vocabulary) -> dict[str, Any]:
    """Say special tokens and chat template as tokenizer_config.json does."""
    texts = {name: vocabulary.tokens[index] for name, index in vocabulary.special.items()}
    template = keys.text("tokenizer.chat_template")
    return texts if template is None else {**texts, "chat_template": template}


def end_ids(keys: Keys, vocabulary: Vocabulary) -> list[int]:
    """Tokens that end an answer.

    Raises:
        ConfigInvalid: an id is no number.
        TokenizerInvalid: it is none of a token.
    """
    found = {i for i, text in enumerate(vocabulary.tokens) if text in ENDS and vocabulary.kinds[i] == CONTROL}
    for name in ("eos", "eot", "eom"):
        key = f"tokenizer.ggml.{name}_token_id"
        index = keys.integer(key, least=0)
        if index is not None:
            found.add(_checked(index, key, len(vocabulary.tokens), keys.model.path))
    return sorted(found)
