"""Artefact → answers: what runs inside Lambda."""
