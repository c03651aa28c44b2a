"""Logits → one token: penalties, bias, temperature, truncation, and a draw that a seed repeats."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Choice = tuple[float, float, float, float]  # temperature, top_k, top_p and min_p, as far as logits must be exact for it
ALL_EXACT: Choice = (-1.0, 0.0, 1.0, 0.0)
FEW = 8  # if a grammar allows this fraction of the tokens or less, only theirs are looked at
# For each byte of a mask, what is added to eight logits, float32 (256, 8).
_PENALTIES = np.where(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"),
    np.float32(0),
    np.float32(-np.inf),
)


@dataclass(frozen=True)
class SamplingParams:
    """How to choose tokens; validated by whoever made it.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_k: keep so many of the likeliest tokens; 0 keeps all.
        top_p: keep the likeliest tokens that make up this probability (Holtzman et al., 2020); 1 keeps all.
        min_p: keep tokens at least this fraction as likely as the likeliest (Nguyen et al., 2024); 0 keeps all.
        repetition_penalty: divides the logits of tokens seen in prompt or answer (Keskar et al., 2019); 1 is none.
        presence_penalty: subtracted from the logit of every token in the answer.
        frequency_penalty: subtracted once for each time that the token is in the answer.
        logit_bias: added to the logits, by token id.
        seed: same seed, same tokens; None draws a fresh one.
        top_logprobs: how many alternatives to report with each token; None for no log-probabilities at all.
        min_tokens: before so many tokens, none that would end the answer is chosen.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None
    top_logprobs: int | None = None
    min_tokens: int = 0


class Sampler:
    """Chooses the tokens of one answer."""

    def __init__(self, params: SamplingParams, prompt_ids: Sequence[int], vocab_size: int) -> None:
        """Begin an answer to `prompt_ids`."""
        self._params = params
        seed = params.seed if params.seed is not None else int.from_bytes(os.urandom(16), "little")
        self._random = random.Random(seed)
        self._answer: Counter[int] = Counter()
        self._seen = np.zeros(vocab_size if params.repetition_penalty != 1.0 else 0, dtype=np.bool_)
        if params.repetition_penalty != 1.0:
            self._seen[list(prompt_ids)] = True
        bias = params.logit_bias or {}
        self._bias_ids = np.fromiter(bias.keys(), dtype=np.int64, count=len(bias))
        self._bias = np.fromiter(bias.values(), dtype=np.float32, count=len(bias))

    @property
    def choice(self) -> Choice:
        """Among which logits the next token is chosen, if nothing but these is allowed or avoided."""
        p = self._params
        changed = p.presence_penalty != 0 or p.frequency_penalty != 0 or self._seen.size or self._bias_ids.size
        if changed or p.top_logprobs is not None:
            return ALL_EXACT
        return (p.temperature, float(p.top_k), p.top_p, p.min_p)

    def sample(
        self, logits: NDArray[np.float32], allowed: NDArray[np.uint8] | None = None, avoided: Collection[int] = ()
    ) -> int:
        """Choose the next token.

        Args:
            logits: float32 `(vocab_size,)`; left as they are.
            allowed: the tokens to choose among, a bit each, lowest bit first: uint8 `(ceil(vocab_size / 8),)` or more;
                None for all.
            avoided: tokens that are chosen only if there is no other.
        """
        adjusted = self._adjust(logits)
        if allowed is not None and avoided:
            allowed = _without(allowed, avoided)
        elif avoided:
            adjusted = adjusted.copy()
            adjusted[list(avoided)] = -np.inf
        return self.take(self._pick(adjusted) if allowed is None else self._pick_among(adjusted, allowed))

    def _pick_among(self, logits: NDArray[np.float32], allowed: NDArray[np.uint8]) -> int:
        if self._params.temperature == 0:
            likeliest = int(logits.argmax())
            if allowed[likeliest >> 3] >> (likeliest & 7) & 1:
                return likeliest
        mask = np.unpackbits(allowed, count=len(logits), bitorder="little").view(np.bool_)
        if FEW * np.count_nonzero(mask) <= len(logits):
            ids = np.flatnonzero(mask)
            return int(ids[self._pick(logits[ids])])
        # Faster than numpy's selections by a mask: a table has what is to be added for eight tokens at a time.
        added = np.take(_PENALTIES, allowed, axis=0).reshape(-1)[: len(logits)]
        return self._pick(np.add(logits, added, out=added))

    def _pick(self, logits: NDArray[np.float32]) -> int:
        return int(logits.argmax()) if self._params.temperature == 0 else self._draw(logits)

    def take(self, token: int) -> int:
        """Count a token that nobody had to choose, and return it."""
        self._answer[token] += 1
        if self._seen.size:
            self._seen[token] = True
        return token

    def _adjust(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        p = self._params
        penalized = self._answer and (p.presence_penalty != 0 or p.frequency_penalty != 0)
        if not (penalized or self._seen.size or self._bias_ids.size):
            return logits
        logits = logits.copy()
        if self._seen.size:
            seen = logits[self._seen]
            logits[self._seen] = np.where(seen > 0, seen / p.repetition_penalty, seen * p.repetition_penalty)
        if penalized:
            ids = list(self._answer)
            counts = np.array([self._answer[i] for i in ids], dtype=np.float32)
            logits[ids] -= p.presence_penalty + p.frequency_penalty * counts
        logits[self._bias_ids] += self._bias
        return logits

    def _draw(self, logits: NDArray[np.float32]) -> int:
        p = self._params
        ids, probabilities = _truncate(_softmax(logits, p.temperature), p.top_k, p.top_p, p.min_p)
        cumulated = np.cumsum(probabilities, dtype=np.float64)
        drawn = int(np.searchsorted(cumulated, self._random.random() * cumulated[-1], side="right"))
        # Where rounding leads beyond the end, the last token might be one that can't come.
        position = drawn if drawn < len(probabilities) else int(probabilities.argmax())
        return position if ids is None else int(ids[position])


def _without(allowed: NDArray[np.uint8], avoided: Collection[int]) -> NDArray[np.uint8]:
    """A mask without some tokens, unless that would leave none."""
    others = allowed.copy()
    for id in avoided:
        others[id // 8] &= 255 - (1 << id % 8)
    return others if others.any() else allowed


def _softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    # Shifted before it is divided, so that a tiny temperature can't overflow.
    scaled = (logits - logits.max()) / np.float32(max(temperature, 1e-6))
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum()
    probabilities: NDArray[np.float32] = scaled
    return probabilities


def _truncate(
    probabilities: NDArray[np.float32], top_k: int, top_p: float, min_p: float
) -> tuple[NDArray[np.int64] | None, NDArray[np.float32]]:
    """Keep the likeliest tokens: top_k first, then top_p of what is left, then min_p.

    Returns:
        ids, likeliest first, or None for all in their own order; and their probabilities, not normalized again.
    """
    top_k = min(top_k, len(probabilities)) if top_k > 0 else 0
    if top_k == 0 and top_p >= 1 and min_p <= 0:
        return None, probabilities
    if top_k:
        ids = _likeliest(probabilities, top_k)
    elif top_p < 1:
        ids = _nucleus_candidates(probabilities, top_p)
    else:
        ids = np.flatnonzero(probabilities >= min_p * probabilities.max())
    kept = probabilities[ids]
    if top_p < 1:
        total = kept.sum() if top_k else np.float32(1)
        before = np.cumsum(kept, dtype=np.float64) - kept
        count = max(1, int(np.searchsorted(before, top_p * total, side="left")))
        ids, kept = ids[:count], kept[:count]
    if min_p > 0:
        likely = kept >= min_p * probabilities.max()
        ids, kept = ids[likely], kept[likely]
    return ids, kept


def _nucleus_candidates(probabilities: NDArray[np.float32], top_p: float) -> NDArray[np.int64]:
    """Sort only as many tokens as the nucleus can need: sorting a whole vocabulary takes 10 ms."""
    count = 256
    while count < len(probabilities):
        ids = _likeliest(probabilities, count)
        if probabilities[ids].sum(dtype=np.float64) >= top_p:
            return ids
        count *= 8
    return _likeliest(probabilities, len(probabilities))


def _likeliest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Ids of the `count` largest values, largest first, the smaller id first among equals."""
    ids = np.arange(len(values))
    if count < len(values):
        least = -np.partition(-values, count - 1)[count - 1]
        above = np.flatnonzero(values > least)
        ids = np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]])
    order: NDArray[np.int64] = ids[np.argsort(-values[ids], kind="stable")]
    return order


def log_probabilities(
    logits: NDArray[np.float32], token: int, count: int
) -> tuple[float, tuple[tuple[int, float], ...]]:
    """Log-probabilities by the model's own distribution, before penalties and temperature.

    Args:
        logits: float32 `(vocab_size,)`.
        token: the chosen token.
        count: how many of the likeliest tokens to report.

    Returns:
        natural logarithm for the token, and (id, natural logarithm) of the likeliest, likeliest first.
    """
    wide = logits.astype(np.float64)
    shift = wide.max()
    normalizer = shift + np.log(np.exp(wide - shift).sum())
    top = _likeliest(logits, min(count, len(logits))) if count else np.empty(0, dtype=np.int64)
    return float(wide[token] - normalizer), tuple((int(i), float(wide[i] - normalizer)) for i in top)
