"""Children of a Deployment: Triton servers with their agents, the Service, ModelServers."""

from __future__ import annotations

from typing import Any

from modelyard.api.base import API_VERSION, duration_seconds
from modelyard.contract import labels, paths
from modelyard.contract.run import AgentRun, dump_run
from modelyard.core import meta, pods
from modelyard.core.deployment import names
from modelyard.core.deployment.observed import Observed
from modelyard.core.fleet.fleet import Member
from modelyard.core.naming import short_hash
from modelyard.core.plan import Manifest

TRITON = "triton"
AGENT = "agent"
CONTROL_KEY = "MODELYARD_CONTROL_KEY"


def _selector(obj: Manifest) -> dict[str, str]:
    return {labels.OWNER_UID: meta.uid(obj), labels.COMPONENT: "server"}


def label_selector(obj: Manifest) -> str:
    """The serving pods' selector in text form, for the scale subresource."""
    return ",".join(f"{k}={v}" for k, v in sorted(_selector(obj).items()))


def _metadata(observed: Observed, name: str) -> dict[str, Any]:
    return meta.child_metadata(observed.obj, "Deployment", child=name, component="server")


def service(observed: Observed) -> dict[str, Any]:
    """The Service that routes to servers that answer; on the edge, to the client's own node."""
    local = {"internalTrafficPolicy": "Local"} if observed.edge else {}
    ports = {"http": names.HTTP_PORT, "grpc": names.GRPC_PORT, "metrics": names.METRICS_PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(observed, names.service_name(observed.obj)),
        "spec": {
            **local,
            "selector": _selector(observed.obj),
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
                for name, port in ports.items()
            ],
        },
    }


def model_server(
    observed: Observed,
    member: Member,
    assigned: Manifest,
    *,
    staged: Manifest | None = None,
    shadow: Manifest | None = None,
) -> dict[str, Any]:
    """The ModelServer of a serving pod (cluster) or a node (edge).

    `staged` is an Assignment, `shadow` an api.modelserver.Shadowing.
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
    optional = {"nodeName": node, "pool": pool, "staged": staged, "shadow": shadow}
    spec |= {name: value for name, value in optional.items() if value}
    metadata = _metadata(observed, observed.server_name(member))
    metadata["labels"][labels.TARGET] = _target(observed)
    return {"apiVersion": API_VERSION, "kind": "ModelServer", "metadata": metadata, "spec": spec}


def _target(observed: Observed) -> str:
    return "edge" if observed.edge else "cluster"


def template_hash(observed: Observed) -> str:
    """Names the template of edge pods: the operator replaces pods that were made from another
    one. Cluster pods are replaced by their Deployment."""
    if not observed.edge:
        return ""
    return short_hash(_pod(observed), _agent_run(observed))


def workload(observed: Observed) -> dict[str, Any]:
    """The apps/v1 Deployment or DaemonSet. Nothing in its pods depends on the model version:
    versions come and go inside running servers.

    A change of server settings does replace pods. Of a cluster target: one by one, each new one
    answering before an old one goes. On the edge a second server has no room beside the first
    (GPU, memory, one per node), so pods go and come back node by node, when the rollout deletes
    them (OnDelete): by the same steps and budgets as a version.
    """
    return _daemon_set(observed) if observed.edge else _deployment(observed)


def _deployment(observed: Observed) -> dict[str, Any]:
    metadata = _metadata(observed, names.workload_name(observed.obj))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": observed.replicas,
            "selector": {"matchLabels": _selector(observed.obj)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "revisionHistoryLimit": 2,
            "template": _template(observed, metadata),
        },
    }


def _daemon_set(observed: Observed) -> dict[str, Any]:
    metadata = _metadata(observed, names.workload_name(observed.obj))
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": _selector(observed.obj)},
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 2,
            "template": _template(observed, metadata),
        },
    }


def _template(observed: Observed, metadata: Manifest) -> dict[str, Any]:
    carried = {**metadata["labels"], labels.TARGET: _target(observed)}
    if observed.edge:
        carried[labels.TEMPLATE] = template_hash(observed)
    return {
        "metadata": {
            "labels": carried,
            "annotations": {
                labels.OWNER: metadata["annotations"][labels.OWNER],
                paths.RUN_ANNOTATION: _agent_run(observed),
            },
        },
        "spec": _pod(observed),
    }


def _cpus(observed: Observed) -> float:
    wanted, defaults = observed.spec.server.resources, observed.settings.server_resources
    return pods.resource_requirements(wanted, defaults)[1]


def _agent_run(observed: Observed) -> str:
    edge = observed.spec.target.edge
    own: dict[str, Any] = {}
    if edge is not None:
        after = duration_seconds(edge.offline_after)
        own = {
            "edge": True,
            "cache_bytes": pods.quantity_bytes(edge.cache.quota),
            # Three chances to be heard before silence counts.
            "report_seconds": max(1, min(100, int(after / 3))),
        }
    return dump_run(
        AgentRun(
            namespace=meta.namespace(observed.obj),
            deployment=meta.name(observed.obj),
            model_line=observed.spec.model_line,
            store=observed.settings.store,
            cpu_limit=_cpus(observed),
            gpus=observed.spec.server.resources.gpus or 0,
            **own,
        )
    )


def _control_key() -> dict[str, Any]:
    """Only who knows it may load and unload models; the same in both containers."""
    return {"name": CONTROL_KEY, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}


def _triton_arguments() -> list[str]:
    """Arguments that our image and the vendor's both take.

    Configurations are complete, and --disable-auto-complete-config makes loads four times as
    quick. Model control is kept from clients: over HTTP it would hold up other requests
    (triton-inference-server/server#8117).
    """
    closed = "shared-memory,trace,logging"
    return [
        f"--model-repository={paths.MODELS}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        f"--http-port={names.HTTP_PORT}",
        f"--grpc-port={names.GRPC_PORT}",
        f"--metrics-port={names.METRICS_PORT}",
        "--metrics-config=summary_latencies=true",
        f"--http-restricted-api=model-repository,{closed}:modelyard-control=$({CONTROL_KEY})",
        f"--grpc-restricted-protocol=model-repository:modelyard-control=$({CONTROL_KEY})",
        f"--grpc-restricted-protocol={closed}:modelyard-closed=$({CONTROL_KEY})",
        "--exit-timeout-secs=20",
    ]


def _triton(observed: Observed, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    settings, server = observed.settings, observed.spec.server
    resources, _ = pods.resource_requirements(
        server.resources, settings.server_resources, limit_cpu=False
    )
    ports = {"http": names.HTTP_PORT, "grpc": names.GRPC_PORT, "metrics": names.METRICS_PORT}
    live = "/v2/health/live"
    return {
        "name": TRITON,
        "image": server.image or settings.images.triton,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["tritonserver"],
        "args": _triton_arguments(),
        "env": [_control_key()],
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()
        ],
        "resources": resources,
        "securityContext": pods.container_security(),
        "volumeMounts": mounts,
        "startupProbe": _probe(live, names.HTTP_PORT, periodSeconds=2, failureThreshold=60),
        "livenessProbe": _probe(live, names.HTTP_PORT, periodSeconds=10, failureThreshold=6),
        # The agent knows whether a model answers; while it restarts alone, its few seconds of
        # silence do not take a serving pod out of the Service.
        "readinessProbe": _probe("/readyz", names.AGENT_PORT, periodSeconds=2, failureThreshold=3),
        # Routes disappear before the server is told to stop.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    }


def _agent(observed: Observed, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    settings = observed.settings
    resources, _ = pods.resource_requirements(None, settings.agent_resources, limit_cpu=False)
    return {
        "name": AGENT,
        "image": settings.images.worker,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["python", "-m", "modelyard.workloads.agent"],
        "env": [
            *pods.identity_env(),
            _control_key(),
            *pods.store_env(settings.store_reader_secret),
        ],
        "ports": [{"name": "probes", "containerPort": names.AGENT_PORT, "protocol": "TCP"}],
        "resources": resources,
        "securityContext": pods.container_security(),
        "volumeMounts": mounts,
        "livenessProbe": _probe(
            "/healthz", names.AGENT_PORT, periodSeconds=20, failureThreshold=6, timeoutSeconds=5
        ),
    }


def _cache(observed: Observed) -> tuple[dict[str, Any], dict[str, Any]]:
    """Volume and mount of the agent's cache: one folder for each Modelyard Deployment, and in a
    volume that nodes share one for each node."""
    mount: dict[str, Any] = {"name": "cache", "mountPath": str(paths.AGENT_CACHE)}
    place = f"{meta.namespace(observed.obj)}/{meta.name(observed.obj)}"
    edge = observed.spec.target.edge
    if edge is not None and edge.cache.host_path is not None:
        path = f"{edge.cache.host_path}/{place}"
        return {"name": "cache", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}, mount
    if edge is not None and edge.cache.claim_name is not None:
        mount["subPathExpr"] = f"{place}/$(NODE_NAME)"
        claim = {"claimName": edge.cache.claim_name}
        return {"name": "cache", "persistentVolumeClaim": claim}, mount
    return pods.empty_dir("cache", str(paths.AGENT_CACHE))


def _cache_owner(observed: Observed, mount: dict[str, Any]) -> dict[str, Any]:
    """Gives a folder that the kubelet has made, as root, to the agent: fsGroup does not reach
    hostPath volumes."""
    user = pods.pod_security()["runAsUser"]
    code = f"import os; os.chown('{paths.AGENT_CACHE}', {user}, {user})"
    return {
        "name": "cache-owner",
        "image": observed.settings.images.worker,
        "imagePullPolicy": observed.settings.images.pull_policy,
        "command": ["python", "-c", code],
        "securityContext": {
            **pods.container_security(),
            "runAsUser": 0,
            "runAsNonRoot": False,
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
        },
        "volumeMounts": [mount],
    }


def _scheduling(observed: Observed) -> dict[str, Any]:
    fields = pods.scheduling_fields(observed.spec.server.scheduling)
    edge = observed.spec.target.edge
    if edge is not None:
        fields["nodeSelector"] = {**fields.get("nodeSelector", {}), **edge.node_selector}
    return fields


def _pod(observed: Observed) -> dict[str, Any]:
    settings = observed.settings
    models, models_mount = pods.empty_dir("models", str(paths.MODELS))
    cache, cache_mount = _cache(observed)
    tmp, tmp_mount = pods.empty_dir("tmp", "/tmp")  # noqa: S108
    # Python backends exchange tensors with Triton through shared memory.
    shm, shm_mount = pods.empty_dir("shm", "/dev/shm", medium="Memory", sizeLimit="512Mi")  # noqa: S108
    # Copies of requests on their way to a version that is only tried; see serving/spool.py.
    spool, spool_mount = pods.empty_dir(
        "spool", str(paths.SPOOL), medium="Memory", sizeLimit="64Mi"
    )
    run, run_mount = pods.run_volume()
    token, token_mount = pods.token_volume()
    store_volumes, store_mounts = pods.store_volume(settings, read_only=True)
    agent_mounts = [models_mount, cache_mount, tmp_mount, spool_mount, run_mount, token_mount]
    agent_mounts += store_mounts
    own: dict[str, Any] = {
        "serviceAccountName": settings.agent_service_account,
        # Triton runs the user's models: only the agent gets a token, by its own volume.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 40,
        "securityContext": pods.pod_security(),
        "containers": [
            _triton(
                observed, [{**models_mount, "readOnly": True}, tmp_mount, shm_mount, spool_mount]
            ),
            _agent(observed, agent_mounts),
        ],
        "volumes": [models, cache, tmp, shm, spool, run, token, *store_volumes],
    }
    edge = observed.spec.target.edge
    if edge is not None and edge.cache.host_path is not None:
        own["initContainers"] = [_cache_owner(observed, cache_mount)]
    return own | pods.pull_secrets(settings) | _scheduling(observed)


def _probe(path: str, port: int, **options: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 3, **options}
