"""`schwift convert`: a model's pickle → an ONNX graph or a library's own file, if it answers the same."""
