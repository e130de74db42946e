"""Triton's entry point of the front of a pack's host; the code is in schwift_runtime/host/pack_front.py."""

# ruff: noqa: E402
import sys

# What Python writes into a model's folder makes Triton load the model once more (host/own_folder.py).
sys.dont_write_bytecode = True

from schwift_runtime.host.pack_front import TritonPythonModel

__all__ = ["TritonPythonModel"]
