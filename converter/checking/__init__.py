"""Holds configs against their models: what is wrong, on which line, and what to do."""
