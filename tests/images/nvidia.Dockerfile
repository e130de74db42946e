# Stands in for NVIDIA's image, with the wheel's tritonserver where NVIDIA's is: enough to try the target triton-nvidia.
# Its onnxruntime is the Python-based backend, not the C++ one.
ARG BASE
ARG TRITON
FROM ${TRITON} AS triton
FROM ${BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip
ARG PACKAGES=/opt/schwift/lib/python3.11/site-packages
COPY --from=triton /opt/schwift/engine/nvidia_pytriton.libs /nvidia_pytriton.libs
COPY --from=triton /opt/schwift/engine/pytriton/tritonserver /opt/tritonserver
COPY --from=triton ${PACKAGES}/onnxruntime /usr/local/lib/python3.11/dist-packages/onnxruntime
COPY triton_repo_template/backends/onnxruntime /opt/tritonserver/backends/onnxruntime
COPY triton_repo_template/runtime /opt/tritonserver/backends/onnxruntime/schwift_runtime
RUN mv /opt/tritonserver/python_backend_stubs/3.11/* /opt/tritonserver/backends/python
ENV PATH=/opt/tritonserver/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["/bin/false"]
