"""Turns `models/` into a Triton model repository, and runs Triton on it."""
