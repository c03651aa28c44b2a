"""What the local images are called."""

from __future__ import annotations

BASE = "localhost/firebrick-base"
BUILDER = "localhost/firebrick-builder"
ADAPTER = "localhost/firebrick-lwa"
