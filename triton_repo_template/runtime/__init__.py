"""The code beside each model.py in a repository: plain Python that Triton's Python backend runs.

    front.py        the front `m`: passes each batch on to `m_direct`
    model.py        the model `m_direct`: loads the user's model and calls it
    onnx_model.py   `m_direct` of an ONNX graph, for the embedded Triton's backend `onnxruntime`
    host/           a pack: the process of several models, and its front

It needs numpy, 1.26 or 2, and a front that takes strings 1.26. It imports nothing of SchwiftServe's other packages, and
loads heavy libraries only where a model needs them.
"""
