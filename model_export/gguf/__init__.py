"""GGUF files, as llama.cpp has them, read as checkpoints."""
