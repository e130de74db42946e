"""Packs: several models in one process, their host, and what is said to it."""
