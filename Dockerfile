# The images of docker-compose.yml: targets builder, triton, triton-nvidia and adapter; and server, which is all in one.
# `make images` builds them without a docker engine, and runs the contract tests against them.

# A Python 3.10 to 3.12 (this Triton needs numpy 1.26, which has no wheel for 3.13) with its shared library and venv, on glibc 2.35 or newer.
ARG BASE=python:3.11-slim-bookworm
# 26.08 or newer: the security bulletins of 2026 are complete from 26.07 on, 26.08 cures a leak of counts in queues with a
# policy, which slowed them down over minutes, and 26.11 a use after free in the dynamic batcher.
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:26.11-py3

# Nothing of this stage is in an image but what is copied from it.
FROM ${BASE} AS tools
# binutils has what slim.sh strips with; its version does not matter.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
# /opt/schwift goes into the images; the pip that fills it does not.
RUN python3 -m venv /opt/pip \
    && python3 -m venv --without-pip /opt/schwift \
    && mkdir -p /srv/skeleton/models /srv/skeleton/repository /srv/skeleton/logs /srv/skeleton/control \
      /srv/skeleton/keys /srv/skeleton/api-keys /srv/skeleton/cache/environments
WORKDIR /build
COPY constraints.txt ./
COPY deploy/requirements deploy/slim.sh ./

FROM tools AS triton-packages
RUN /opt/pip/bin/pip download --no-cache-dir --no-deps -c constraints.txt nvidia-pytriton
RUN /opt/pip/bin/pip --python /opt/schwift/bin/python install --no-cache-dir --no-deps \
      -c constraints.txt -r models.txt -r triton.txt \
    && sh slim.sh /opt/schwift
# Packages that models need beyond these, for example EXTRAS=torch, from PyPI and from PIP_EXTRA_INDEX_URL.
ARG EXTRAS=""
ARG PIP_EXTRA_INDEX_URL=""
RUN for package in ${EXTRAS}; do \
      /opt/pip/bin/pip --python /opt/schwift/bin/python install --no-cache-dir -c constraints.txt "${package}" || exit 1; \
    done
COPY . /build/source
# Triton is unpacked here, since nothing is written there at run time.
RUN /opt/pip/bin/pip --python /opt/schwift/bin/python install --no-cache-dir --no-deps ./source \
    && SCHWIFT_CACHE=/build/cache /opt/schwift/bin/schwift engine install --wheel nvidia_pytriton-*.whl \
    && mv /build/cache/engine/2.* /opt/schwift/engine

FROM triton-packages AS server-packages
RUN /opt/pip/bin/pip --python /opt/schwift/bin/python install --no-cache-dir --no-deps \
      -c constraints.txt -r adapter.txt \
    && sh slim.sh /opt/schwift

FROM tools AS adapter-packages
# Byte code is written for what the adapter imports, and for nothing else: half of it is never read.
RUN /opt/pip/bin/pip --python /opt/schwift/bin/python install --no-cache-dir --no-compile --no-deps \
      -c constraints.txt -r adapter.txt \
    && sh slim.sh /opt/schwift numpy/distutils numpy/f2py
COPY . /build/source
RUN /opt/pip/bin/pip --python /opt/schwift/bin/python install --no-cache-dir --no-compile --no-deps ./source \
    && /opt/schwift/bin/python -c "import adapter.__main__, adapter.telemetry.tracing, requests"

# The packages of models for the Python of NVIDIA's image.
FROM ${TRITON_IMAGE} AS nvidia-packages
WORKDIR /build
COPY constraints.txt ./
COPY deploy/requirements ./
ARG EXTRAS=""
ARG PIP_EXTRA_INDEX_URL=""
RUN python3 -m venv --system-site-packages --without-pip /opt/schwift \
    && python3 -m pip --python /opt/schwift/bin/python install --no-cache-dir --no-deps --ignore-installed \
      -c constraints.txt -r models.txt \
    && find /opt/schwift -type d -name tests -prune -exec rm -r {} + \
    && for package in ${EXTRAS}; do \
      python3 -m pip --python /opt/schwift/bin/python install --no-cache-dir -c constraints.txt "${package}" || exit 1; \
    done

# No RUN from here on: the images have their base, what is copied, and a user that needs no entry in /etc/passwd.
FROM ${BASE} AS runtime
ENV PATH=/opt/schwift/bin:${PATH} \
    HOME=/tmp \
    USER=schwift \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MODEL_DIRECTORY=/srv/models \
    LOG_DIRECTORY=/srv/logs \
    SCHWIFT_REPOSITORY=/srv/repository/current \
    SCHWIFT_TRITON_KEY_FILE=/srv/keys/triton.key
COPY --from=tools --chown=10001:10001 /srv/skeleton /srv
WORKDIR /srv
USER 10001:10001

FROM runtime AS triton
ENV SCHWIFT_ENGINE=/opt/schwift/engine
COPY --from=triton-packages /opt/schwift /opt/schwift
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 CMD ["python", "-c", \
  "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/v2/health/live'); sys.exit(c.getresponse().status != 200)"]
CMD ["schwift", "triton", "--host", "0.0.0.0"]

FROM triton AS builder
HEALTHCHECK NONE
CMD ["schwift", "build-repo", "--skip-missing"]

FROM ${TRITON_IMAGE} AS triton-nvidia
# Triton's Python models find their environment by the first python3 on PATH.
ENV PATH=/opt/schwift/bin:${PATH} \
    HOME=/tmp \
    USER=schwift \
    NUMBA_CACHE_DIR=/tmp/numba \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=nvidia-packages /opt/schwift /opt/schwift
COPY deploy/nvidia.sh schwift/triton/sealed_start.py /opt/schwift/
WORKDIR /srv
USER 10001:10001
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 CMD ["python3", "-c", \
  "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/v2/health/live'); sys.exit(c.getresponse().status != 200)"]
# What `schwift triton` says to the wheel's; the C++ backends are where this image has them.
ENTRYPOINT []
CMD ["sh", "/opt/schwift/nvidia.sh"]

# One container that builds, and runs Triton and the adapter: `docker run IMAGE serve` is how SageMaker starts it, with
# the models in /opt/ml/model, and asks it on 8080.
FROM runtime AS server
ENV SCHWIFT_ENGINE=/opt/schwift/engine \
    MODEL_DIRECTORY=/opt/ml/model \
    SCHWIFT_HOST=0.0.0.0 \
    PORT=8080
COPY --from=server-packages /opt/schwift /opt/schwift
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-c", \
  "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["schwift"]
CMD ["serve"]

FROM runtime AS adapter
ENV SCHWIFT_HOST=0.0.0.0
COPY --from=adapter-packages /opt/schwift /opt/schwift
EXPOSE 8005
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-c", \
  "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8005, timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "adapter"]
