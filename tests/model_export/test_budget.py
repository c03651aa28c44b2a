from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.budget import bits_per_weight, check_budget, knapsack, spend, widest
from model_export.decoder import EMBEDDING
from model_export.errors import BudgetImpossible
from model_export.rows import ComputedRows
from model_export.weights import Weight

ITEMS = st.lists(st.tuples(st.floats(0, 10), st.integers(1, 30)), max_size=8)


def weight(name: str, rows: int, bits: int | None = 4) -> Weight:
    return Weight(name, ComputedRows(np.zeros((rows, 32), dtype=np.float32)), bits)


WEIGHTS = [weight(EMBEDDING, 40, 8), weight("norm", 1, None), weight("a", 30), weight("b", 20), weight("c", 10)]
COSTS = {EMBEDDING: 9.0, "a": 6.0, "b": 5.0, "c": 1.0}


def widths(budget: float, head_bits: int | None = None) -> dict[str, int | None]:
    return {w.name: w.bits for w in spend(WEIGHTS, COSTS, budget, head_bits)}


@given(ITEMS, st.integers(0, 100))
def test_what_is_chosen_fits_and_nothing_else_gains_more(items: list[tuple[float, int]], room: int) -> None:
    gains, sizes = [gain for gain, _ in items], [size for _, size in items]
    chosen = knapsack(gains, sizes, room)

    def total(values: list[float] | list[int], mask: int) -> float:
        return sum(value for at, value in enumerate(values) if mask >> at & 1)

    mask = sum(take << at for at, take in enumerate(chosen))
    assert total(sizes, mask) <= room
    best = max(total(gains, m) for m in range(2 ** len(items)) if total(sizes, m) <= room)
    assert total(gains, mask) == pytest.approx(best)


def test_sizes_too_fine_for_the_room_still_fit() -> None:
    assert knapsack([1.0, 1.0], [1_000_003, 999_999], 2_000_300) == [True, True]
    assert sum(knapsack([1.0, 1.0], [1_000_003, 999_999], 1_999_000)) == 1


@pytest.mark.parametrize(
    ("budget", "wide"),
    [(4.5, set()), (4.9, {"c"}), (5.3, {"b"}), (6.1, {EMBEDDING}), (8.5, {EMBEDDING, "a", "b", "c"})],
)
def test_the_budget_goes_where_it_helps_most(budget: float, wide: set[str]) -> None:
    assert {name for name, bits in widths(budget).items() if bits == 8} == wide
    assert bits_per_weight(spend(WEIGHTS, COSTS, budget, None)) <= budget


def test_a_given_width_of_the_head_is_kept_and_counted() -> None:
    assert widths(6.1, head_bits=8) == {EMBEDDING: 8, "norm": None, "a": 4, "b": 4, "c": 4}
    assert widths(6.1, head_bits=4)[EMBEDDING] == 4


def test_the_order_stays() -> None:
    assert [w.name for w in spend(WEIGHTS, COSTS, 5.0, None)] == [w.name for w in WEIGHTS]


def test_a_budget_below_what_a_wide_head_leaves_is_refused() -> None:
    check_budget(WEIGHTS, 4.5, None)
    with pytest.raises(BudgetImpossible, match=r"4\.5: with this model and --head-bits 8, expected 6\.100 to 8\.500"):
        check_budget(WEIGHTS, 4.5, 8)


def test_with_room_for_everything_nothing_has_to_be_measured() -> None:
    assert {w.name: w.bits for w in widest(WEIGHTS, None)} == widths(8.5)
    assert {w.name: w.bits for w in widest(WEIGHTS, 4)} == widths(8.5, head_bits=4)
