"""Triton's command line, for our image and for the vendor's, whose entry point is not ours.

Clients get health, metadata, model configurations and inference, over HTTP and gRPC. Everything
else that Triton offers on these ports is closed:

    model repository, statistics   over gRPC with the pod's control key (`contract/control.py`).
                                   Loading a model can run code (`file:` overrides)
    trace, logging, shared memory  over neither: each start of Triton makes a key that nobody gets
    all of these over HTTP         likewise; a load over HTTP would also hold up other requests
                                   (triton-inference-server/server#8117)

Triton serves all of gRPC on one port, so model control cannot listen on loopback alone: the key
decides. Triton takes keys only as arguments, so a shell adds them when the container starts: they
are not in the pod's manifest. Who can list the node's processes sees them; see docs/serving.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.contract import control, paths
from modelyard.core.deployment import disruption, names

OPERATED = "model-repository,statistics"
"""What the agent uses."""
UNUSED = "shared-memory,trace,logging"
"""What nobody uses."""
CLOSED = "modelyard-closed"
"""Header of what nobody may use."""

# Made once in the pod's life, whole or not at all: the agent may be reading, and a container that
# restarts alone must find the key that the other one uses. `$` followed by `(` or `$` would be
# taken for a reference to a variable by the kubelet.
START = f"""\
set -eu
file="${{{control.KEY_FILE_ENV}:-{control.KEY_FILE}}}"
server=`command -v tritonserver`
runtime="${{file%/*}}/{control.RUNTIME}"
rm -f "$runtime"
if [ -f "${{server%/bin/tritonserver}}/backends/onnxruntime/model.py" ]; then
  (umask 0333 && : > "$runtime")
fi
random() {{ od -An -v -N32 -tx1 /dev/urandom | tr -d ' \\n'; echo; }}
if [ ! -s "$file" ]; then
  (umask 0227 && rm -f "$file.part" && random > "$file.part" && mv "$file.part" "$file")
fi
read -r key < "$file"
closed=`random`
exec tritonserver "$@" \\
  --http-restricted-api={OPERATED},{UNUSED}:{CLOSED}="$closed" \\
  --grpc-restricted-protocol={OPERATED}:{control.HEADER}="$key" \\
  --grpc-restricted-protocol={UNUSED}:{CLOSED}="$closed"
"""
"""Says whether Triton's ONNX Runtime is that of Python, makes the key if there is none, and starts
Triton with it."""


def command() -> list[str]:
    """Starts Triton; `arguments` follow."""
    return ["/bin/sh", "-c", START, "tritonserver"]


def arguments(
    *,
    models: str = str(paths.MODELS),
    ports: Sequence[int] = (names.HTTP_PORT, names.GRPC_PORT, names.METRICS_PORT),
) -> list[str]:
    """What the command takes; `ports` are those of HTTP, gRPC and metrics.

    Configurations are complete, and --disable-auto-complete-config makes loads four times as
    quick: otherwise each starts every Python step twice.
    """
    http, grpc, metrics = ports
    return [
        f"--model-repository={models}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        f"--http-port={http}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        "--metrics-config=summary_latencies=true",
        f"--exit-timeout-secs={disruption.EXIT_SECONDS}",
    ]
