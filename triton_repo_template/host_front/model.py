"""Triton's entry point of the front of a pack's host; the code is in schwift_runtime/host/pack_front.py."""

from schwift_runtime.host.pack_front import TritonPythonModel

__all__ = ["TritonPythonModel"]
