"""Children of a Deployment: the workload that makes serving pods, the Service, ModelServers.

Pure makers: an observed Deployment in, manifests out, so that tests compare values. The pod:
serverpod.py; its disruption budget, autoscaler, routes and activator: the modules of these names.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from modelyard.api.base import API_VERSION
from modelyard.contract import labels, paths
from modelyard.core import meta
from modelyard.core.conditions import timestamp
from modelyard.core.deployment import names
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.serverpod import agent_run, pod_spec
from modelyard.core.deployment.serving import metadata, selector
from modelyard.core.fleet.member import Member
from modelyard.core.naming import short_hash
from modelyard.core.plan import KubeObject


def label_selector(obj: KubeObject) -> str:
    """The serving pods' selector in text form, for the scale subresource."""
    return ",".join(f"{k}={v}" for k, v in sorted(selector(obj).items()))


def service(observed: Observed) -> dict[str, Any]:
    """The Service that routes to servers that answer; on the edge, to the client's own node."""
    local = {"internalTrafficPolicy": "Local"} if observed.edge else {}
    ports = {"http": names.HTTP_PORT, "grpc": names.GRPC_PORT, "metrics": names.METRICS_PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(observed.obj, names.service_name(observed.obj)),
        "spec": {
            **local,
            "selector": selector(observed.obj),
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
                # What stands between must speak HTTP/2 without TLS to it (KEP-3726).
                | ({"appProtocol": "kubernetes.io/h2c"} if name == "grpc" else {})
                for name, port in ports.items()
            ],
        },
    }


def model_server(
    observed: Observed,
    member: Member,
    assigned: KubeObject,
    *,
    staged: KubeObject | None = None,
    shadow: KubeObject | None = None,
    monitoring: KubeObject | None = None,
    report_seconds: int | None = None,
) -> dict[str, Any]:
    """The ModelServer of a serving pod (cluster) or a node (edge).

    `staged` is an Assignment, `shadow` an api.modelserver.Shadowing, `monitoring` an
    api.monitoring.ServerMonitoring.
    """
    pod, known = member.pod, member.server
    spec: dict[str, Any] = {
        "deployment": meta.name(observed.obj),
        # Between two pods of a node its ModelServer keeps the name of the first.
        "podName": pod.name if pod else known.pod if known else member.name,
        "modelLine": observed.spec.model_line,
        "assigned": dict(assigned),
    }
    node = pod.node if pod else known.node if known else ""
    pool = member.group.pool if member.group else ""
    optional = {
        "nodeName": node,
        "pool": pool,
        "staged": staged,
        "shadow": shadow,
        "monitoring": monitoring,
        "reportSeconds": report_seconds,
    }
    spec |= {name: value for name, value in optional.items() if value}
    own = metadata(observed.obj, observed.server_name(member))
    own["labels"][labels.TARGET] = _target(observed)
    return {"apiVersion": API_VERSION, "kind": "ModelServer", "metadata": own, "spec": spec}


def _target(observed: Observed) -> str:
    return "edge" if observed.edge else "cluster"


def pod_template(observed: Observed) -> dict[str, Any]:
    """The serving pods' template. An edge one is labelled with its own hash: the operator replaces
    pods that were made from another one. Cluster pods are replaced by their Deployment."""
    own = metadata(observed.obj, names.workload_name(observed.obj))
    spec, run = pod_spec(observed), agent_run(observed)
    carried = {**own["labels"], labels.TARGET: _target(observed)}
    if observed.edge:
        # On which nodes pods run is no property of theirs: another selector replaces none.
        unplaced = {name: value for name, value in spec.items() if name != "nodeSelector"}
        carried[labels.TEMPLATE] = short_hash(unplaced, run)
    return {
        "metadata": {
            "labels": carried,
            "annotations": {
                labels.OWNER: own["annotations"][labels.OWNER],
                paths.RUN_ANNOTATION: run,
            },
        },
        "spec": spec,
    }


def template_hash(template: KubeObject) -> str:
    """Names the template of edge pods; empty for a cluster target."""
    return str(template["metadata"]["labels"].get(labels.TEMPLATE, ""))


def settings_hash(template: KubeObject) -> str:
    """Names a pod template of a cluster target, in an annotation of the apps Deployment: it says
    whether that one has the present spec already."""
    return short_hash(template)


def workload(observed: Observed, template: KubeObject, now: datetime) -> dict[str, Any]:
    """The apps/v1 Deployment or DaemonSet that makes pods from a pod_template. Nothing in them
    depends on the model version: versions come and go inside running servers.

    A change of server settings does replace pods. Of a cluster target: one by one, each new one
    answering before an old one goes. On the edge a second server has no room beside the first
    (GPU, memory, one per node), so pods go and come back node by node, when the rollout deletes
    them (OnDelete): by the same steps and budgets as a version.
    """
    if not observed.edge:
        return _deployment(observed, template)
    made = _daemon_set(observed, template)
    since = _since(observed, template, now)
    if since:
        made["metadata"]["annotations"][labels.TEMPLATE_SINCE] = since
    return made


def _since(observed: Observed, template: KubeObject, now: datetime) -> str:
    """When the DaemonSet got its template; empty where it was made with it."""
    live = observed.workload
    if live is None:
        return ""
    if template_hash(live["spec"]["template"]) != template_hash(template):
        return timestamp(now)
    return meta.annotation(live, labels.TEMPLATE_SINCE) or ""


def _deployment(observed: Observed, template: KubeObject) -> dict[str, Any]:
    own = metadata(observed.obj, names.workload_name(observed.obj))
    own["annotations"][labels.TEMPLATE] = settings_hash(template)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": own,
        "spec": {
            "replicas": observed.replicas,
            "progressDeadlineSeconds": observed.spec.rollout.progress_deadline_seconds,
            "selector": {"matchLabels": selector(observed.obj)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "revisionHistoryLimit": 2,
            "template": template,
        },
    }


def _daemon_set(observed: Observed, template: KubeObject) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(observed.obj, names.workload_name(observed.obj)),
        "spec": {
            "selector": {"matchLabels": selector(observed.obj)},
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 2,
            "template": template,
        },
    }
