#!/bin/sh
# Becomes the tritonserver of NVIDIA's image, with no model loaded: what `schwift triton` does with the wheel's.
# tests/unit/deploy/test_nvidia.py holds the options of both together.
set -eu

is_true() {
  case $(printf %s "$1" | tr '[:upper:]' '[:lower:]') in 1 | t | true | y | yes | on) ;; *) return 1 ;; esac
}

# As schwift/log_rotation.py does, with one old file, for as long as the server lives.
keep_small() {
  while sleep 2 && kill -0 $$ 2>/dev/null; do
    if [ -n "$(find "$1" -size +10240k 2>/dev/null)" ]; then
      cp "$1" "$1.1" && : >"$1"
    fi
  done
}

info=false
if is_true "${DEBUG_MODE:-}" || is_true "${DEBUG_MODEL:-}"; then
  info=true
fi
# As schwift/triton/addresses.py has it.
apis=model-repository,shared-memory,trace,logging,statistics
set -- \
  "--model-repository=${SCHWIFT_REPOSITORY:-/srv/repository/current}" \
  --model-control-mode=explicit \
  --disable-auto-complete-config \
  --allow-gpu-metrics=false \
  --pinned-memory-pool-byte-size=0 \
  --backend-config=python,thread-pool-size=10 \
  --exit-timeout-secs=15 \
  "--cache-config=local,size=${SCHWIFT_CACHE_BYTES:-67108864}" \
  --http-port=8000 --grpc-port=8001 --metrics-port=8002 \
  "--http-restricted-api=$apis:schwift-key={access-key}" \
  "--grpc-restricted-protocol=$apis:schwift-key={access-key}" \
  "--log-info=$info"
if [ -n "${SCHWIFT_OTLP_ENDPOINT:-}" ]; then
  set -- "$@" \
    --trace-config=mode=opentelemetry \
    "--trace-config=opentelemetry,url=${SCHWIFT_OTLP_ENDPOINT%/}/v1/traces" \
    --trace-config=opentelemetry,resource=service.name=schwiftserve-triton \
    --trace-config=level=TIMESTAMPS \
    --trace-config=rate=1000
fi
if is_true "${DEBUG_MODE:-}"; then
  log=${LOG_DIRECTORY:-/srv/logs}/triton.log
  # With the rights of the other logs; what Triton writes from now on is for its user alone.
  : >>"$log"
  keep_small "$log" &
  set -- "$@" "--log-file=$log"
fi
exec python3 -I "${0%/*}/sealed_start.py" "${SCHWIFT_TRITON_KEY_FILE:-/srv/keys/triton.key}" tritonserver "$@"
