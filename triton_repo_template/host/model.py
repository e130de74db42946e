"""Triton's entry point of a pack's host; the code is in schwift_runtime/host/pack_host.py."""

# ruff: noqa: E402
import sys

# Triton takes a model for a changed one if anything in its folder has changed, and loads it with the next ensemble.
sys.dont_write_bytecode = True

from schwift_runtime.host.pack_host import TritonPythonModel

__all__ = ["TritonPythonModel"]
