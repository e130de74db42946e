"""Triton's entry point of the front of a pack's host; the code is in schwift_runtime/host/host_front.py."""

import sys

# Triton takes a model in whose folder something was written for another, and loads it again with an ensemble of its.
# For this file's own code, which Python writes before it gets here, there is no place (PYCACHE_FILE in pack_files.py).
sys.dont_write_bytecode = True

from schwift_runtime.host.host_front import TritonPythonModel  # noqa: E402  # after the line above

__all__ = ["TritonPythonModel"]
