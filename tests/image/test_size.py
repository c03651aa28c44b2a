"""The table of layers."""

from __future__ import annotations

import pytest

from image.archive import Layer, SavedImage
from image.errors import TooLarge
from image.size import LIMIT, check, report

SMALL = SavedImage({}, (Layer(1000, 100, {"opt/model": 0o644}), Layer(24, 2, {"opt/app/x": 0o644})), {})


def test_each_layer_has_a_line_and_the_sum_one() -> None:
    lines = report("firebrick:stream", SMALL).splitlines()
    assert lines[1].split() == ["/opt/model", "1,000", "100"]
    assert lines[3].split() == ["2", "layers", "1,024", "102"]


def test_what_lambda_takes_passes() -> None:
    check("firebrick:stream", SMALL)


def test_more_than_lambda_takes_is_refused_with_both_numbers() -> None:
    with pytest.raises(TooLarge, match="firebrick:stream has 10,737,418,241 bytes, Lambda takes 10,737,418,240"):
        check("firebrick:stream", SavedImage({}, (Layer(LIMIT + 1, 0, {}),), {}))
