"""The tokenizer: byte-level BPE over the corpus, with single digits and `<|…|>` special tokens.

The merges are learnt with a stricter split than the one that is used: there, a space never touches a capital
letter. So a name costs the same tokens after a space, a quote or a bracket, and copying it is copying tokens.
The split in the file is the common one of Llama 3 with single digits, as in Qwen 2: other engines know it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from demo.offers import CALL_TOKENS
from demo.words import Dialogue

VOCAB_SIZE = 2048
PAD, BEGIN, END_OF_TEXT, SYSTEM, USER, ASSISTANT, END, TOOL = SPECIAL_TOKENS = (
    "<|pad|>", "<|begin_of_text|>", "<|end_of_text|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
    "<|tool|>",
)  # fmt: skip
IDS = {token: index for index, token in enumerate(SPECIAL_TOKENS)}

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_SPLIT = _WORDS + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LEARNING_SPLIT = r"\p{N}|[A-Z]{2,}(?![a-z])|[A-Z][a-z]*| ?[a-z]+| ?[^\sA-Za-z0-9]+|\s"


def _pre_tokenizer(pattern: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _without_call_tokens(text: str) -> str:
    for token in CALL_TOKENS:
        text = text.replace(token, "")
    return text


def learn(dialogues: Iterable[Dialogue]) -> Tokenizer:
    """Learn the merges from the messages of these dialogues; every byte is in the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _pre_tokenizer(_LEARNING_SPLIT)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(CALL_TOKENS),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (_without_call_tokens(message["content"]) for dialogue in dialogues for message in dialogue)
    tokenizer.train_from_iterator(texts, trainer)
    # A call's marks are one token each, but no special ones: they are part of the answer's text.
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in CALL_TOKENS])
    tokenizer.pre_tokenizer = _pre_tokenizer(_SPLIT)
    return tokenizer


def load(checkpoint: Path) -> Tokenizer:
    """The tokenizer of a checkpoint."""
    return Tokenizer.from_file(str(checkpoint / "tokenizer.json"))


def encode(tokenizer: Tokenizer, dialogue: Dialogue) -> tuple[list[int], list[bool]]:
    """A dialogue as the chat template writes it: (ids, whether each id is the assistant's to learn)."""
    ids, learnt = [IDS[BEGIN]], [False]
    for message in dialogue:
        content = tokenizer.encode(message["content"].strip(), add_special_tokens=False).ids
        ids += [IDS[f"<|{message['role']}|>"], *content, IDS[END]]
        learnt += [False] + [message["role"] == "assistant"] * (len(content) + 1)
    return ids, learnt
