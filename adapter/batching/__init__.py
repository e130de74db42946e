"""Rows that wait, joined into few calls."""
