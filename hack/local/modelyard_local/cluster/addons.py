"""The API objects that make a bare control plane a usable cluster.

Needed because there is no kubeadm here: roles of the components' users, cluster DNS, a storage
class. Who runs the components: local.py.
"""

from __future__ import annotations

from modelyard_local.cluster.api import Api, Object
from modelyard_local.cluster.network import Network
from modelyard_local.cluster.volumes import storage_class

_RBAC = "rbac.authorization.k8s.io"
_RBAC_PATH = f"/apis/{_RBAC}/v1"


def apply_addons(api: Api, network: Network, dns_port: int) -> None:
    """Applies all of them; repeating it changes nothing."""
    for path, document in addons(network, dns_port):
        api.apply(path, document)


def mark_stopped(api: Api, node: str) -> None:
    """Mark `node` and its pods as not running, before the node starts again.

    Until kubelet has synchronised a pod, its status is from before the stop, and a client that
    waits for it would find it ready. The node lifecycle controller does the same to a lost node.
    """
    if api.get(f"/api/v1/nodes/{node}"):
        ready = {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NodeStopped",
            "message": "stopped",
        }
        api.patch(f"/api/v1/nodes/{node}/status", {"status": {"conditions": [ready]}})
    listed = api.get(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}") or {"items": []}
    for pod in listed["items"]:
        metadata = pod["metadata"]
        conditions = [
            {"type": each, "status": "False", "reason": "NodeStopped"}
            for each in ("Ready", "ContainersReady")
        ]
        if pod["status"].get("phase") == "Running":
            api.patch(
                f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status",
                {"status": {"conditions": conditions}},
            )


def addons(network: Network, dns_port: int) -> list[tuple[str, Object]]:
    """API path and object, in the order in which they are applied."""
    namespace = "kube-system"
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    protocols = [("dns", "UDP"), ("dns-tcp", "TCP")]
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": namespace, "labels": labels},
        "spec": {
            "clusterIP": network.dns_address,
            "ports": [
                {"name": name, "protocol": protocol, "port": 53, "targetPort": dns_port}
                for name, protocol in protocols
            ],
        },
    }
    # CoreDNS is a process of the node, so no selector finds it.
    endpoints: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [network.node_address], "conditions": {"ready": True}}],
        "ports": [
            {"name": name, "protocol": protocol, "port": dns_port} for name, protocol in protocols
        ],
    }
    return [
        *_role(
            "system:coredns",
            [
                _rule("", ["services", "pods", "namespaces"], ["list", "watch"]),
                _rule("discovery.k8s.io", ["endpointslices"], ["list", "watch"]),
            ],
        ),
        *_role(
            "modelyard:network-policies",
            [
                _rule("", ["pods", "namespaces"], ["list", "watch"]),
                _rule("networking.k8s.io", ["networkpolicies"], ["list", "watch"]),
            ],
        ),
        *_role(
            "modelyard:volumes",
            [_rule("", ["persistentvolumes"], ["get", "list", "create", "patch", "delete"])],
        ),
        (f"/api/v1/namespaces/{namespace}/services/kube-dns", service),
        (
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/kube-dns",
            endpoints,
        ),
        ("/apis/storage.k8s.io/v1/storageclasses/local", storage_class()),
    ]


def _rule(group: str, resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _role(user: str, rules: list[Object]) -> list[tuple[str, Object]]:
    """A cluster role and its binding to `user`, both called like the user."""
    metadata = {"name": user}
    role = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": rules,
    }
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }
    return [
        (f"{_RBAC_PATH}/clusterroles/{user}", role),
        (f"{_RBAC_PATH}/clusterrolebindings/{user}", binding),
    ]
