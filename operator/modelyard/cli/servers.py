"""Reads a bounded number of a Deployment's ModelServers.

Field selectors on custom resources need Kubernetes 1.31; on older clusters the servers are read
page by page and filtered here.
"""

from __future__ import annotations

from collections.abc import Callable

from modelyard.cli.kube import Cluster, FieldSelectorUnsupported, Object, name, status
from modelyard.cli.rolloutview import Failure
from modelyard.contract import labels

MAX_READ = 5000
"""Maximum number of servers to read if the cluster does not support field selectors."""
_PAGE = 500


def selector(obj: Object) -> str:
    """Label selector of a Deployment's ModelServers."""
    return f"{labels.OWNER_UID}={obj['metadata'].get('uid', '')}"


def first(cluster: Cluster, obj: Object, limit: int) -> list[Object]:
    """The first servers of a Deployment."""
    namespace = obj["metadata"]["namespace"]
    return cluster.objects("ModelServer", namespace, labels=selector(obj), limit=limit)


def failed(cluster: Cluster, obj: Object, limit: int) -> list[Object]:
    """Servers of a Deployment that failed to load their version, at most `limit`."""
    return _where(
        cluster, obj, "status.phase=Failed", lambda s: status(s).get("phase") == "Failed", limit
    )


def on_node(cluster: Cluster, obj: Object, node: str) -> list[Object]:
    """Servers of a Deployment on a node."""
    return _where(
        cluster, obj, f"spec.nodeName={node}", lambda s: s["spec"].get("nodeName") == node, _PAGE
    )


def _where(
    cluster: Cluster, obj: Object, fields: str, wanted: Callable[[Object], bool], limit: int
) -> list[Object]:
    namespace = obj["metadata"]["namespace"]
    try:
        return cluster.objects(
            "ModelServer", namespace, labels=selector(obj), fields=fields, limit=limit
        )
    except FieldSelectorUnsupported:
        pass
    found: list[Object] = []
    after, seen = "", 0
    while True:
        page, after = cluster.page(
            "ModelServer", namespace, labels=selector(obj), limit=_PAGE, after=after
        )
        found += [one for one in page if wanted(one)]
        seen += len(page)
        if not after or len(found) >= limit or seen >= MAX_READ:
            return found[:limit]


def failures(cluster: Cluster, obj: Object, limit: int) -> tuple[Failure, ...]:
    """Failed servers for display. Sends no request if the Deployment counts none."""
    if not status(obj).get("failedReplicas"):
        return ()
    return tuple(
        Failure(
            name(one),
            str(one["spec"].get("nodeName") or ""),
            str(status(one).get("message") or "no reason given"),
        )
        for one in failed(cluster, obj, limit)
    )
