"""The Embedded Metric Format's rules, from its specification.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

UNITS = {"Count", "Milliseconds", "Count/Second", "None"}  # those of ours; CloudWatch knows more


def metrics_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """Check a line as CloudWatch does; return its metrics' values."""
    assert set(line["_aws"]) == {"Timestamp", "CloudWatchMetrics"}
    timestamp = line["_aws"]["Timestamp"]
    assert isinstance(timestamp, int)
    assert abs(timestamp / 1e3 - time.time()) < 3600  # milliseconds; CloudWatch takes two weeks back, two hours ahead
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert 1 <= len(directive["Namespace"]) <= 1024
    [dimensions] = directive["Dimensions"]
    assert 1 <= len(dimensions) <= 30
    assert all(isinstance(line[name], str) and line[name] for name in dimensions)
    assert 1 <= len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        assert set(metric) == {"Name", "Unit"}
        assert metric["Unit"] in UNITS
    names = [metric["Name"] for metric in directive["Metrics"]]
    assert len(names) == len(set(names))
    for name in names:
        values = line[name] if isinstance(line[name], list) else [line[name]]
        assert 1 <= len(values) <= 100
        assert all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return {name: line[name] for name in names}
