"""Triton's entry point of a front; the code is in schwift_runtime/front.py."""

from schwift_runtime.front import TritonPythonModel

__all__ = ["TritonPythonModel"]
