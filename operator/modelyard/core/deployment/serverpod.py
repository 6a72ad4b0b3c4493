"""The serving pod: Triton, its agent, and what they share.

One pod is one server: Triton answers requests, and the agent beside it fetches artifacts, tells
Triton what to load, and reports. Both are in one pod so that a node without a network keeps what
it needs to restart. Ports and flags are decided here only. What the agent does: workloads/agent.
"""

from __future__ import annotations

from typing import Any

from modelyard.api.base import duration_seconds
from modelyard.api.deployment import Server
from modelyard.contract import control, paths
from modelyard.contract.capture import AUDIENCE, TOKEN_FOLDER
from modelyard.contract.run import AgentRun, dump_run
from modelyard.core import meta, pods
from modelyard.core.deployment import disruption, names, tritoncommand
from modelyard.core.deployment.observed import Observed

TRITON = "triton"
AGENT = "agent"


_OWNER_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "32Mi", pods.DISK: "1Mi"},
    "limits": {"memory": "64Mi", pods.DISK: "64Mi"},
}


def _cpus(observed: Observed) -> float:
    wanted, defaults = observed.spec.server.resources, observed.settings.resources["server"]
    return pods.resource_requirements(wanted, defaults)[1]


def _cache_bytes(observed: Observed) -> int:
    """The quota of the agent's cache."""
    target = observed.spec.target
    cache = target.cluster.cache if target.cluster else target.edge.cache if target.edge else None
    return pods.quantity_bytes(cache.quota) if cache else 0


def agent_run(observed: Observed) -> str:
    """The agent's run spec as JSON."""
    edge = observed.spec.target.edge
    own: dict[str, Any] = {}
    cluster = observed.spec.target.cluster
    if cluster is not None:
        own["cache_bytes"] = _cache_bytes(observed)
    if edge is not None:
        after = duration_seconds(edge.offline_after)
        own = {
            "edge": True,
            "cache_bytes": _cache_bytes(observed),
            "durable_cache": bool(edge.cache.host_path or edge.cache.claim_name),
            # Three chances to be heard before silence counts.
            "report_seconds": max(1, min(300, int(after / 3))),
        }
    return dump_run(
        AgentRun(
            namespace=meta.namespace(observed.obj),
            deployment=meta.name(observed.obj),
            model_line=observed.spec.model_line,
            store=observed.settings.store_of(meta.namespace(observed.obj)),
            cpu_limit=_cpus(observed),
            gpus=observed.spec.server.resources.gpus or 0,
            instances=observed.spec.server.instances,
            **_batching(observed.spec.server),
            intake=observed.settings.intake_url,
            max_images=observed.spec.server.max_images,
            **own,
        )
    )


def _batching(server: Server) -> dict[str, Any]:
    """Nothing of what is left out, so that a newer operator changes no pod for it."""
    batching = server.batching
    if batching is None:
        return {"max_batch_size": server.max_batch_size}
    delay = round(duration_seconds(batching.max_delay) * 1_000_000)
    return {
        "max_batch_size": batching.max_size,
        "preferred_batch_sizes": batching.preferred_sizes,
        "max_batch_delay_microseconds": delay or None,
    }


def _triton(observed: Observed, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    settings, server = observed.settings, observed.spec.server
    resources, _ = pods.resource_requirements(
        server.resources, settings.resources["server"], limit_cpu=False
    )
    live = "/v2/health/live"
    return {
        "name": TRITON,
        "image": server.image or settings.images.triton,
        "imagePullPolicy": settings.images.pull_policy,
        "command": tritoncommand.command(),
        "args": tritoncommand.arguments(),
        "ports": _ports(observed),
        "resources": resources,
        "securityContext": pods.container_security(),
        "volumeMounts": mounts,
        "startupProbe": _probe(live, names.HTTP_PORT, periodSeconds=2, failureThreshold=60),
        "livenessProbe": _probe(live, names.HTTP_PORT, periodSeconds=10, failureThreshold=6),
        # The agent knows whether a model answers; while it restarts alone, its few seconds of
        # silence do not take a serving pod out of the Service.
        "readinessProbe": _probe("/readyz", names.AGENT_PORT, periodSeconds=2, failureThreshold=3),
        # Routes disappear before the server is told to stop.
        "lifecycle": {"preStop": {"sleep": {"seconds": disruption.drain_seconds(observed)}}},
    }


def _ports(observed: Observed) -> list[dict[str, Any]]:
    """Triton's ports, and those of the node that lead to them. The kubelet's portmap needs no
    routes of the cluster network, so a client beside the node reaches its server by them."""
    ports = {"http": names.HTTP_PORT, "grpc": names.GRPC_PORT, "metrics": names.METRICS_PORT}
    edge = observed.spec.target.edge
    given = edge.host_ports if edge is not None else None
    of_node = given.model_dump(exclude_none=True) if given is not None else {}
    return [
        {"name": name, "containerPort": port, "protocol": "TCP"}
        | ({"hostPort": of_node[name]} if name in of_node else {})
        for name, port in ports.items()
    ]


def _agent(observed: Observed, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    settings = observed.settings
    resources, _ = pods.resource_requirements(None, settings.resources["agent"], limit_cpu=False)
    # The cache, and copies of what of it Triton reads, beside the agent's own files.
    disk = 2 * _cache_bytes(observed) + pods.quantity_bytes(settings.resources["agent"][pods.DISK])
    resources["limits"][pods.DISK] = str(disk)
    return {
        "name": AGENT,
        "image": settings.images.worker,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["python", "-m", "modelyard.workloads.agent"],
        "env": [*pods.identity_env(), *pods.store_env(settings.store_reader_secret)],
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
        "resources": _OWNER_RESOURCES,
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


def pod_spec(observed: Observed) -> dict[str, Any]:
    """The pod's spec."""
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
    # The key that authorises model control: of this pod, never on a disk, gone with the pod.
    key, key_mount = pods.empty_dir(
        "control", str(control.CONTROL), medium="Memory", sizeLimit="1Mi"
    )
    run, run_mount = pods.run_volume()
    token, token_mount = pods.token_volume()
    store_volumes, store_mounts = pods.store_volume(
        settings, meta.namespace(observed.obj), read_only=True
    )
    triton_mounts = [{**models_mount, "readOnly": True}, tmp_mount, shm_mount, spool_mount]
    agent_mounts = [models_mount, cache_mount, tmp_mount, spool_mount, run_mount, token_mount]
    agent_mounts += [{**key_mount, "readOnly": True}, *store_mounts]
    volumes = [models, cache, tmp, shm, spool, key, run, token, *store_volumes]
    if settings.intake_url:
        intake, intake_mount = pods.audience_token("intake-token", AUDIENCE, TOKEN_FOLDER)
        volumes.append(intake)
        agent_mounts.append(intake_mount)
    own: dict[str, Any] = {
        "serviceAccountName": settings.agent_service_account,
        # Triton runs the user's models: only the agent gets a token, by its own volume.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": disruption.grace_seconds(observed),
        "securityContext": pods.pod_security(),
        "containers": [
            _triton(observed, [*triton_mounts, key_mount]),
            _agent(observed, agent_mounts),
        ],
        "volumes": volumes,
    }
    edge = observed.spec.target.edge
    if edge is not None and edge.cache.host_path is not None:
        own["initContainers"] = [_cache_owner(observed, cache_mount)]
    own |= disruption.topology_spread(observed)
    return own | pods.pull_secrets(settings) | _scheduling(observed)


def _probe(path: str, port: int, **options: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 3, **options}
