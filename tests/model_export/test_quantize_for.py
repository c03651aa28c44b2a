from __future__ import annotations

import numpy as np
import pytest

from model_export.calibrate import quantize_for
from model_export.parallel import workers
from model_export.quantize import dequantize
from model_export.rows import ComputedRows
from model_export.storage import storage_of
from model_export.weights import Weight
from tests.model_export.test_feedback import correlated_inputs, normal

K = 512


def output_error(scale_bits: int, large: float) -> float:
    """What a weight's outputs are wrong by, calibrated with scales of so many bits; one value of a row is large."""
    rows, inputs = np.ascontiguousarray(normal(K, 64).T), correlated_inputs(K)
    rows[:, 100] *= np.float32(large)
    weight = Weight("w", ComputedRows(rows), 4, 32, storage=storage_of("native", scale_bits))
    with workers(2) as pool:
        values, scales = quantize_for(inputs, weight, pool)
    errors = rows - dequantize(values, scales, 4, K)
    return float(((inputs @ errors.T) ** 2).sum())


@pytest.mark.parametrize("large", [1, 3])
def test_scales_in_8_bits_cost_the_outputs_next_to_nothing(large: float) -> None:
    assert output_error(8, large) < 1.008 * output_error(16, large)
