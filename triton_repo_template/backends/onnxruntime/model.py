"""Entry point of the embedded Triton's backend `onnxruntime`; the code is in schwift_runtime/onnx_model.py."""

from schwift_runtime.onnx_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
