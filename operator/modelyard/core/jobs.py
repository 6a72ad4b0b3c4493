"""Workload Jobs: how they are made. What their state means: see jobstate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelyard.api.base import Resources, Scheduling
from modelyard.contract import exitcodes, labels, paths
from modelyard.contract.run import BaseRun, dump_run
from modelyard.core import meta, pods
from modelyard.core.plan import KubeObject
from modelyard.core.settings import Settings
from modelyard.core.stages import Stage, init_container, mounts, volumes

CONTAINER = "main"
MAIN = Stage(CONTAINER, store=True)
"""The only container of a pod without stages."""


_DISK_LIMIT = {
    "name": paths.DISK_LIMIT_VARIABLE,
    "valueFrom": {"resourceFieldRef": {"resource": f"limits.{pods.DISK}"}},
}


@dataclass(frozen=True)
class JobSpec:
    """What differs from one kind's Job to another's."""

    kind: str
    """Kind of the owner."""
    name: str
    component: str
    module: str
    """Python module that the pod runs."""
    image: str
    run: BaseRun
    defaults: Any
    """Default resources."""
    resources: Resources | None = None
    scheduling: Scheduling | None = None
    role: str = "main"
    backoff_limit: int = 3
    active_deadline_seconds: int | None = None
    pod_deadline_seconds: int | None = None
    """Maximum duration of one pod, from the moment that its node has it."""
    suspend: bool = False
    service_account: str | None = None
    """Service account for pods that report through the API; others get no token."""
    env: tuple[dict[str, Any], ...] = ()
    volumes: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = ()
    """Further volumes with their mounts."""
    stages: tuple[Stage, ...] = ()
    """Containers that run before `main`, in this order."""
    main: Stage = MAIN
    """What `main` sees of the volumes between stages, and whether it uses the store."""
    spec_hash: str | None = None
    """Hash of the owner's spec that the Job is made from, kept as an annotation."""


def make_job(owner: KubeObject, spec: JobSpec, settings: Settings) -> dict[str, Any]:
    """The batch/v1 Job of a workload. Exit code USER_ERROR fails it at once; a pod lost to a
    node's disruption does not count towards backoffLimit."""
    requirements, cpus = pods.resource_requirements(spec.resources, spec.defaults)
    networks = list(settings.allowed_private_networks)
    run = spec.run.model_copy(update={"cpu_limit": cpus, "allowed_private_networks": networks})
    metadata = meta.child_metadata(
        owner, spec.kind, child=spec.name, component=spec.component, **{labels.ROLE: spec.role}
    )
    pod_annotations = {**metadata["annotations"], paths.RUN_ANNOTATION: dump_run(run)}
    if spec.spec_hash:
        metadata["annotations"][labels.SPEC_HASH] = spec.spec_hash
    job_spec: dict[str, Any] = {
        "backoffLimit": spec.backoff_limit,
        "suspend": spec.suspend,
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": {
            "metadata": {
                "labels": dict(metadata["labels"]),
                "annotations": pod_annotations,
            },
            "spec": _pod_spec(owner, spec, settings, requirements),
        },
    }
    if spec.active_deadline_seconds:
        job_spec["activeDeadlineSeconds"] = spec.active_deadline_seconds
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job_spec}


def _pod_spec(
    owner: KubeObject, spec: JobSpec, settings: Settings, requirements: KubeObject
) -> dict[str, Any]:
    store_volumes, store_mounts = pods.store_volume(
        settings, meta.namespace(owner), read_only=False
    )
    own_env = [*pods.identity_env(), _DISK_LIMIT]
    store_env = pods.store_env(settings.store_secret)
    memory = requirements["limits"]["memory"]
    pairs = [
        pods.run_volume(),
        pods.empty_dir("scratch", str(paths.SCRATCH)),
        pods.empty_dir("tmp", "/tmp"),  # noqa: S108
        # What lies in it counts as the container's memory: one limit for both, one figure to raise.
        pods.empty_dir("shm", "/dev/shm", medium="Memory", sizeLimit=memory),  # noqa: S108
        *spec.volumes,
    ]
    used = [*(mount for _, mount in pairs), *mounts(spec.main)]
    container = {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": settings.images.pull_policy,
        "command": ["python", "-P", "-m", spec.module],
        "env": [*own_env, *store_env, *spec.env],
        "resources": requirements,
        "securityContext": pods.container_security(),
        "volumeMounts": [*used, *store_mounts],
    }
    first = [init_container(one, container, store_mounts) for one in spec.stages]
    if not spec.main.store:
        container |= {"env": [*own_env, *spec.env], "volumeMounts": used}
    between = volumes(spec.stages, memory)
    pod_spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": spec.service_account is not None,
        "securityContext": pods.pod_security(),
        **({"initContainers": first} if first else {}),
        "containers": [container],
        "volumes": [*(volume for volume, _ in pairs), *between, *store_volumes],
        "terminationGracePeriodSeconds": 60,
    }
    pod_spec |= pods.pull_secrets(settings) | pods.scheduling_fields(spec.scheduling)
    if spec.pod_deadline_seconds:
        pod_spec["activeDeadlineSeconds"] = spec.pod_deadline_seconds
    if spec.service_account:
        pod_spec["serviceAccountName"] = spec.service_account
    return pod_spec


def _failure_rules() -> list[dict[str, Any]]:
    """The podFailurePolicy: no retry for what only a person can mend, and none counted for a pod
    that its node lost."""
    return [
        {
            "action": "FailJob",
            "onExitCodes": {
                "containerName": CONTAINER,
                "operator": "In",
                "values": [exitcodes.USER_ERROR],
            },
        },
        {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
    ]


def with_suspend(job: KubeObject, suspend: bool) -> dict[str, Any]:
    """An existing Job with only `suspend` changed: the rest of its spec is immutable."""
    own = job["metadata"]
    keep = ("name", "namespace", "labels", "annotations", "ownerReferences")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {k: own[k] for k in keep if k in own},
        "spec": {**job["spec"], "suspend": suspend},
    }
