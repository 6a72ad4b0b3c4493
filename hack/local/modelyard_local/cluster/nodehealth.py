"""Health checks of a node's components."""

from __future__ import annotations

from modelyard_local.cluster.api import Api
from modelyard_local.cluster.components import LOOPBACK
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.images import ImageStore
from modelyard_local.cluster.node import NodePlan, socket
from modelyard_local.cluster.probes import Check, HttpProbe


def node_checks(plan: NodePlan, api: Api) -> dict[str, Check]:
    """The checks by component name."""
    ports = plan.control_plane.ports
    url = f"http://{LOOPBACK}"
    alive = HttpProbe(f"{url}:{ports['kubelet']}/healthz").check
    return {
        "containerd": lambda: _containerd(plan),
        "kubelet": lambda: alive() or _reports(plan.name, api),
        "kube-proxy": HttpProbe(f"{url}:{ports['kube-proxy']}/healthz").check,
        "kube-network-policies": HttpProbe(f"{url}:{ports['kube-network-policies']}/healthz").check,
        "coredns": HttpProbe(f"{url}:{ports['coredns/ready']}/ready").check,
        # It answers nobody; what it cannot do is in its log.
        "volumes": lambda: "",
    }


def _containerd(plan: NodePlan) -> str:
    if not socket(plan.layout).exists():
        return "its socket is not there yet"
    try:
        ImageStore(socket(plan.layout)).digests()
    except ClusterError as error:
        return str(error)
    return ""


def _reports(node: str, api: Api) -> str:
    """Whether the node is Ready and kubelet has taken up every pod that the API has bound to it.

    A restarted kubelet answers before it knows its pods; `kubectl exec` would fail meanwhile.
    """
    try:
        found = api.get(f"/api/v1/nodes/{node}")
        if found is None:
            return f"node {node} has not registered yet"
        conditions = found.get("status", {}).get("conditions", [])
        ready = next((each for each in conditions if each["type"] == "Ready"), None)
        if ready is None:
            return f"node {node} has not reported yet"
        if ready["status"] != "True":
            return f"node {node} is not Ready: {ready.get('message', '')}"
        bound = api.get(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}") or {"items": []}
        if not bound["items"]:
            return ""
        taken_up = api.get(f"/api/v1/nodes/{node}/proxy/pods") or {"items": []}
    except ClusterError as error:
        return str(error)
    known = {pod["metadata"]["uid"] for pod in taken_up.get("items") or []}
    unknown = [
        pod["metadata"]["name"]
        for pod in bound["items"]
        # Finished and just bound pods may be unknown to it for good or for a moment.
        if pod["metadata"]["uid"] not in known and pod["status"].get("phase") == "Running"
    ]
    return f"kubelet has not taken up {', '.join(unknown)} yet" if unknown else ""
