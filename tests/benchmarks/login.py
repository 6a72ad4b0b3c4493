"""How the measured controllers log in: with the token of a service account, as in a cluster.

kube-controller-manager's controllers do so too. With the administrator's client certificate, the
API server would verify a signature at each request: a tenth of its CPU.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from modelyard.kube.kinds import KubeKind

from .api import SPACE, Api

ACCOUNT = KubeKind("ServiceAccount", "", "v1", "serviceaccounts", "ServiceAccount")
BINDING = KubeKind(
    "ClusterRoleBinding",
    "rbac.authorization.k8s.io",
    "v1",
    "clusterrolebindings",
    "ClusterRoleBinding",
)
NAME = "controllers"
TOKEN_SECONDS = 24 * 3600


async def controllers_kubeconfig(api: Api, administrator: Path, folder: Path) -> Path:
    """A kubeconfig in `folder` of a new service account that may do everything, beside that of
    the administrator. Raises Refused."""
    await api.create(ACCOUNT, {"metadata": {"name": NAME}})
    binding = {
        "metadata": {"name": NAME},
        "roleRef": {
            "apiGroup": BINDING.group,
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": SPACE}],
    }
    await api.create(BINDING, binding, namespace="")
    path = folder / "controllers.kubeconfig"
    path.write_text(_with_token(administrator, await api.token(NAME, TOKEN_SECONDS)))
    return path


def _with_token(kubeconfig: Path, token: str) -> str:
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    return str(yaml.safe_dump(config))
