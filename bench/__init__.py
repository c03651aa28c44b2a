"""Measurements: each module prints medians and ends in one JSON line."""
