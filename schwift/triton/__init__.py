"""Triton's process: how it is started, and what of it others may see."""
