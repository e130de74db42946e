"""Turns `models/` into a Triton model repository."""
