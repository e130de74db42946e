"""Triton from the PyPI wheel, and `schwift serve` around it: no docker, no root."""
