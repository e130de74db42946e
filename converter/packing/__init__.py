"""Packs: several models in one process, each with its own names in Triton (docs/packs.md)."""
