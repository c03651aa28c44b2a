"""Token ids in, token ids out; the engine knows no text."""
