#!/bin/sh
# Starts Triton as Modelyard's agent expects it. Works in our image and on the vendor's.
#
# MODELYARD_MODELS       model repository (default /models); the agent writes it
# MODELYARD_CONTROL_KEY  if set, only clients that send it may load and unload models; give the
#                        agent the same value. Both can take the pod's UID from the downward API.
set -eu

models="${MODELYARD_MODELS:-/models}"

# Model control over HTTP would hold up other clients (triton-inference-server/server#8117), and
# nobody may map the server's memory: no client knows this key.
closed="$(cat /proc/sys/kernel/random/uuid)"
set -- --http-restricted-api="model-repository,shared-memory,trace,logging:modelyard-closed=$closed" "$@"
if [ -n "${MODELYARD_CONTROL_KEY:-}" ]; then
  set -- --grpc-restricted-protocol="model-repository:modelyard-control=$MODELYARD_CONTROL_KEY" \
    --grpc-restricted-protocol="shared-memory,trace,logging:modelyard-closed=$closed" "$@"
fi

# Configurations are complete: without --disable-auto-complete-config each load starts every
# Python step twice and takes four times as long. --exit-timeout-secs stays below a pod's usual
# grace period.
exec tritonserver \
  --model-repository="$models" \
  --model-control-mode=explicit \
  --disable-auto-complete-config \
  --strict-readiness=true \
  --exit-timeout-secs=20 \
  --metrics-config=summary_latencies=true \
  "$@"
