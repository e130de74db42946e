"""Triton's entry point of a model; the code is in schwift_runtime/model.py."""

from schwift_runtime.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
