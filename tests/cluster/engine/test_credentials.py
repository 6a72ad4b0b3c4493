"""Credentials that expire or are replaced while the operator runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.cluster

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


def account(server: Any) -> None:
    server.call("POST", ACCOUNTS, {"metadata": {"name": "op"}})


def token(server: Any) -> str:
    body = {"spec": {"expirationSeconds": 3600}}
    return server.call("POST", f"{ACCOUNTS}/op/token", body)["status"]["token"]


@pytest.fixture
def kubeconfig(server: Any, tmp_path: Path) -> Path:
    """A kubeconfig that logs in with a token file, `tmp_path/token`."""
    account(server)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"kind": "ServiceAccount", "namespace": "default", "name": "op"}
    body = {"metadata": {"name": "op"}, "roleRef": role, "subjects": [subject]}
    server.call("POST", BINDINGS, body)
    config = yaml.safe_load(server.plane.kubeconfig.read_text())
    (tmp_path / "token").write_text("not a token")
    config["users"][0]["user"] = {"tokenFile": str(tmp_path / "token")}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_refused_token_is_read_again(
    server: Any, space: str, start: Any, wait: Any, kubeconfig: Path
) -> None:
    tokens = kubeconfig.with_name("token")
    operator = start(kubeconfig=kubeconfig)
    wait(lambda: "waiting for the API server" in operator.log.read_text(), what="refused")
    tokens.write_text(token(server))
    wait(operator.synced, 60, what="logged in")
    server.dataset(space, "a")
    wait(lambda: server.phase(space, "a") == "Ready", what="Ready")
    # Tokens end with their account: the same as expiry, without waiting for it.
    server.call("DELETE", f"{ACCOUNTS}/op")
    wait(lambda: operator.metric("modelyard_leading") == 0, 30, what="refused again")
    account(server)
    tokens.write_text(token(server))
    server.dataset(space, "b")
    wait(lambda: server.phase(space, "b") == "Ready", 60, what="goes on")
    assert operator.process.poll() is None
