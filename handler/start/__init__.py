"""Artefact directory → a loaded model, quickly."""
