"""Names of a Deployment's children."""

from __future__ import annotations

from modelyard.core import meta
from modelyard.core.naming import child_name
from modelyard.core.plan import KubeObject

HTTP_PORT = 8000
GRPC_PORT = 8001
METRICS_PORT = 8002
AGENT_PORT = 8090


def workload_name(obj: KubeObject) -> str:
    """The apps/v1 Deployment."""
    return child_name(meta.name(obj))


def service_name(obj: KubeObject) -> str:
    """The Service in front of the servers."""
    return child_name(meta.name(obj))


def url(obj: KubeObject) -> str:
    """HTTP endpoint within the cluster."""
    return f"http://{service_name(obj)}.{meta.namespace(obj)}.svc:{HTTP_PORT}"
