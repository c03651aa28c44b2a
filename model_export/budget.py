"""The mixed plan: which weights get 8 bits instead of 4, so that a budget of bits buys the least divergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor, gcd, prod

import numpy as np

from model_export.errors import BudgetImpossible
from model_export.storage import STOCK
from model_export.weights import EMBEDDING, HEAD, Weight

FINEST = 20_000  # parts that a budget is divided into at most
TOLERANCE = 1e-9


def bits_per_weight(weights: Sequence[Weight]) -> float:
    """Mean bits of a value over all quantized weights, scales in 8 or 16 bits included; 0 if there are none."""
    sizes = [(prod(w.rows.shape), _bits(w)) for w in weights if w.bits is not None]
    return sum(size * bits for size, bits in sizes) / max(1, sum(size for size, _ in sizes))


def _bits(weight: Weight) -> float:
    return (weight.bits or 0) + (8 if weight.lean else 16) / weight.block_size


def check_budget(weights: Sequence[Weight], budget: float, head_bits: int | None) -> None:
    """Refuse a budget that no choice of widths meets.

    Raises:
        BudgetImpossible: not even 4 bits fit into it, or it asks for more than 8.
    """
    least = bits_per_weight([_widen(w, 4, head_bits) for w in weights])
    most = bits_per_weight([replace(_widen(w, 8, head_bits), storage=STOCK) for w in weights])
    if not least - TOLERANCE <= budget <= most + TOLERANCE:
        given = "" if head_bits is None else f" and --head-bits {head_bits}"
        raise BudgetImpossible(
            f"--bits-per-weight {budget:g}: with this model{given}, expected {least:.3f} to {most:.3f}"
        )


def spend(weights: Sequence[Weight], costs: Mapping[str, float], budget: float, head_bits: int | None) -> list[Weight]:
    """Give 8 bits to those weights whose 4 bits cost most, as far as the budget goes.

    Args:
        weights: from `model_export.weights.plan`.
        costs: by name, what 4 bits cost, from `model_export.sensitivity`.
        budget: bits a value on average, one that `check_budget` accepts.
        head_bits: 4 or 8 if embedding and head have this width, None if they compete with the other weights.

    Returns:
        the weights in the same order.
    """
    narrow = [_widen(weight, 4, head_bits) for weight in weights]
    free = [w for w in narrow if w.bits is not None and not _pinned(w, head_bits)]
    # In bits of a block's values and scale, which are whole.
    total = sum(prod(w.rows.shape) * w.block_size for w in narrow if w.bits is not None)
    left = (budget - bits_per_weight(narrow)) * total
    prices = [round(prod(w.rows.shape) * w.block_size * (_bits(replace(w, bits=8)) - _bits(w))) for w in free]
    taken = knapsack([costs[w.name] for w in free], prices, floor(left + 0.5))
    wide = {weight.name for weight, take in zip(free, taken, strict=True) if take}
    return [replace(weight, bits=8) if weight.name in wide else weight for weight in narrow]


def knapsack(gains: Sequence[float], sizes: Sequence[int], room: int) -> list[bool]:
    """Choose things of the largest total gain whose sizes fit into the room, by dynamic programming.

    Where the sizes' common measure is too fine for the room, sizes are rounded up to a coarser one.
    """
    unit = max(gcd(*sizes, 0), -(-room // FINEST), 1)
    capacity = room // unit
    best = np.zeros(capacity + 1)
    takes = np.zeros((len(sizes), capacity + 1), dtype=bool)
    for item, (gain, size) in enumerate(zip(gains, sizes, strict=True)):
        units = -(-size // unit)
        if units <= capacity:
            with_it = best[: capacity + 1 - units] + gain
            takes[item, units:] = with_it > best[units:]
            best[units:] = np.maximum(with_it, best[units:])
    chosen = [False] * len(sizes)
    for item in reversed(range(len(sizes))):
        if takes[item, capacity]:
            chosen[item] = True
            capacity -= -(-sizes[item] // unit)
    return chosen


def widest(weights: Sequence[Weight], head_bits: int | None) -> list[Weight]:
    """Every quantized weight in 8 bits, but for embedding and head where `head_bits` are given."""
    return [_widen(weight, 8, head_bits) for weight in weights]


def _pinned(weight: Weight, head_bits: int | None) -> bool:
    return head_bits is not None and weight.name in (EMBEDDING, HEAD)


def _widen(weight: Weight, bits: int, head_bits: int | None) -> Weight:
    """The weight with so many bits, if it is quantized; embedding and head with theirs, if they are given."""
    if weight.bits is None:
        return weight
    return replace(weight, bits=head_bits if _pinned(weight, head_bits) else bits)
