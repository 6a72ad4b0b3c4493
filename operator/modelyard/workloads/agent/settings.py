"""The agent's settings, from the environment and the run spec."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from modelyard.contract import control, paths
from modelyard.contract.naming import edge_server_name
from modelyard.contract.run import AgentRun, parse_run

CREDENTIALS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes projects a pod's token and the API server's certificate authority."""
CACHE_BYTES = 4 * 1024**3


class SettingsError(ValueError):
    """The pod is not set up as the agent needs it; the message says what is missing."""


@dataclass(frozen=True)
class AgentSettings:
    """The agent's settings, from its pod's environment."""

    run: AgentRun
    pod_name: str
    namespace: str
    node_name: str = ""
    triton: str = "127.0.0.1:8001"
    """Triton's gRPC endpoint."""
    triton_metrics: str = "http://127.0.0.1:8002/metrics"
    """Triton's Prometheus endpoint."""
    control_key: Path = control.KEY_FILE
    """File with the key that Triton wants to see before it loads models."""
    models: Path = paths.MODELS
    cache: Path = paths.AGENT_CACHE
    cache_bytes: int = CACHE_BYTES
    probe_host: str = "0.0.0.0"  # noqa: S104 - the kubelet probes the pod's address
    probe_port: int = 8090
    credentials: Path = CREDENTIALS
    api_host: str = ""
    """Host of the API server; empty if the pod does not know one."""
    api_port: int = 443
    spool: Path = paths.SPOOL
    """Where Triton leaves copies of requests; memory that both containers share."""
    drain_seconds: float = 20.0
    """How long to wait for Triton to end after SIGTERM."""

    @property
    def server_name(self) -> str:
        """Name of the ModelServer: an edge server's goes with its node, others' with the pod."""
        if self.run.edge:
            return edge_server_name(self.run.deployment, self.node_name)
        return self.pod_name


def read_settings(environ: Mapping[str, str] = os.environ) -> AgentSettings:
    """The settings of this pod. Raises SettingsError."""
    run = _read_run(Path(environ.get(paths.RUN_ENV) or paths.RUN_FILE))
    pod_name = environ.get("POD_NAME")
    if not pod_name:
        raise SettingsError("POD_NAME is not set: the pod template must pass metadata.name in it")
    node_name = environ.get("NODE_NAME", "")
    if run.edge and not node_name:
        raise SettingsError("NODE_NAME is not set: the pod template must pass spec.nodeName in it")
    return AgentSettings(
        run=run,
        pod_name=pod_name,
        namespace=environ.get("POD_NAMESPACE") or run.namespace,
        node_name=node_name,
        triton=environ.get("MODELYARD_TRITON") or AgentSettings.triton,
        triton_metrics=environ.get("MODELYARD_TRITON_METRICS") or AgentSettings.triton_metrics,
        control_key=Path(environ.get(control.KEY_FILE_ENV) or control.KEY_FILE),
        models=Path(environ.get("MODELYARD_MODELS") or paths.MODELS),
        cache=Path(environ.get("MODELYARD_CACHE") or paths.AGENT_CACHE),
        cache_bytes=_number(environ, "MODELYARD_CACHE_BYTES", run.cache_bytes or CACHE_BYTES),
        probe_host=environ.get("MODELYARD_PROBE_HOST") or AgentSettings.probe_host,
        probe_port=_number(environ, "MODELYARD_PROBE_PORT", AgentSettings.probe_port),
        spool=Path(environ.get("MODELYARD_SPOOL") or paths.SPOOL),
        credentials=Path(environ.get("MODELYARD_CREDENTIALS") or CREDENTIALS),
        api_host=environ.get("KUBERNETES_SERVICE_HOST", ""),
        api_port=_number(environ, "KUBERNETES_SERVICE_PORT", AgentSettings.api_port),
    )


def _read_run(path: Path) -> AgentRun:
    try:
        run = parse_run(path.read_bytes())
    except (OSError, ValidationError) as error:
        detail = (
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            if isinstance(error, ValidationError)
            else str(error)
        )
        raise SettingsError(
            f"cannot use the run spec {path} ({detail}); the operator writes it: are the "
            "operator and the worker image of the same release?"
        ) from error
    if not isinstance(run, AgentRun):
        raise SettingsError(f"the run spec {path} is of kind {run.kind}, not agent")
    return run


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isdecimal():
        raise SettingsError(f"{name}={text!r} is not a whole number")
    return int(text)
