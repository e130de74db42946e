"""Triton's entry point of a pack's host; the code is in schwift_runtime/host/pack_host.py."""

from schwift_runtime.host.pack_host import TritonPythonModel

__all__ = ["TritonPythonModel"]
