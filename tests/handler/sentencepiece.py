"""A small tokenizer in the style of Llama 2: blanks as `▁`, bytes as fallback, the first blank stripped."""

from __future__ import annotations

from kitoken import Kitoken
from tokenizers import AddedToken, decoders, models, normalizers
from tokenizers import Tokenizer as ReferenceTokenizer

from handler.text.tokenizer import Tokenizer

PIECES = ("▁", "h", "i", "▁h", "▁hi", "é", "▁▁")
SIZE = 259 + len(PIECES)


def sentencepiece_reference() -> ReferenceTokenizer:
    """The tokenizer as Hugging Face has it."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES]
    model = models.BPE(
        vocab={name: id for id, name in enumerate(names)},
        merges=[("▁", "h"), ("▁h", "i"), ("▁", "▁")],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    reference = ReferenceTokenizer(model)
    reference.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    reference.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    reference.add_special_tokens([AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>")])
    return reference


def sentencepiece_tokenizer() -> Tokenizer:
    """The same for the handler."""
    return Tokenizer(Kitoken.from_tokenizers(sentencepiece_reference().to_str().encode()), prefix_ids=[1])
