"""The local Lambda: `python -m image.local` runs an image, or a command, the way that AWS Lambda does."""
