"""What the local images are called."""

BASE = "localhost/firebrick-base"
BUILDER = "localhost/firebrick-builder"
ADAPTER = "localhost/firebrick-lwa"
