"""What the image adds to the handler: entry points, smoke test, the local Lambda."""
