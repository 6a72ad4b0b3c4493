"""Makers of what all our pods have in common: security, store access, the mounted run spec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from modelyard.api.base import Resources, Scheduling
from modelyard.contract import paths
from modelyard.core.settings import Settings

USER = 65532
"""Numeric user and group of our images (the usual `nonroot`)."""

GPU_RESOURCE = "nvidia.com/gpu"
DISK = "ephemeral-storage"
LITTLE_DISK = "512Mi"
"""Requested where an object does not say how much. The files of a pod's log, 50 MiB, count too."""


def pod_security() -> dict[str, Any]:
    """Pod-level settings that Pod Security `restricted` asks for."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """Container-level settings that Pod Security `restricted` asks for, and a read-only root."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def quantity_cpus(text: str) -> float:
    """CPUs of a quantity: `500m` is 0.5. Raises ValueError for one that is no CPU quantity."""
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


_BYTES = {
    **dict(zip(("k", "M", "G", "T"), (1000**i for i in range(1, 5)), strict=True)),
    **dict(zip(("Ki", "Mi", "Gi", "Ti"), (1024**i for i in range(1, 5)), strict=True)),
}


def quantity_bytes(text: str) -> int:
    """Bytes of an api.base.Memory: `1Gi` is 1073741824."""
    unit = text.lstrip("0123456789.")
    return int(float(text.removesuffix(unit)) * _BYTES.get(unit, 1))


def resource_requirements(
    wanted: Resources | None, defaults: Mapping[str, str], *, limit_cpu: bool = True
) -> tuple[dict[str, Any], float]:
    """Requests and limits, and the CPUs that threads should follow.

    Jobs get limits equal to requests. Servers get no CPU limit: throttling would show as latency
    while the node is idle. Space on the node's disk is always limited, but little of it requested
    unless the object asks for it: defaults are for large data, and nodes may be small.
    """
    values = dict(defaults)
    if wanted and wanted.cpu:
        values["cpu"] = wanted.cpu
    if wanted and wanted.memory:
        values["memory"] = wanted.memory
    disk = values.pop(DISK)
    little = LITTLE_DISK if quantity_bytes(disk) > quantity_bytes(LITTLE_DISK) else disk
    if wanted and wanted.ephemeral_storage:
        disk = little = wanted.ephemeral_storage
    cpus = quantity_cpus(values["cpu"])
    if wanted and wanted.gpus:
        values[GPU_RESOURCE] = str(wanted.gpus)
    limits = {k: v for k, v in values.items() if limit_cpu or k != "cpu"}
    return {"requests": {**values, DISK: little}, "limits": {**limits, DISK: disk}}, cpus


def scheduling_fields(scheduling: Scheduling | None) -> dict[str, Any]:
    """Pod spec fields of a Scheduling."""
    if scheduling is None:
        return {}
    return scheduling.model_dump(by_alias=True, exclude_none=True)


def pull_secrets(settings: Settings) -> dict[str, Any]:
    """Pod spec fields with the registry credentials."""
    if not settings.image_pull_secrets:
        return {}
    return {"imagePullSecrets": [{"name": n} for n in settings.image_pull_secrets]}


def store_env(secret: str | None) -> list[dict[str, Any]]:
    """Credentials of the store as environment variables, from a Secret's keys."""
    if not secret:
        return []
    return [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]


def store_volume(
    settings: Settings, namespace: str, *, read_only: bool
) -> tuple[list[Any], list[Any]]:
    """Volumes and mounts of a directory store: only the namespace's part of the volume, which
    claims of several namespaces may share; empty for object stores."""
    if not settings.store_claim:
        return [], []
    volume = {
        "name": "store",
        "persistentVolumeClaim": {"claimName": settings.store_claim, "readOnly": read_only},
    }
    part = PurePosixPath(unquote(urlsplit(settings.store_of(namespace).url).path))
    mount = {"name": "store", "mountPath": str(paths.STORE_MOUNT), "readOnly": read_only}
    if part.is_relative_to(paths.STORE_MOUNT) and ".." not in part.parts:
        mount |= {"mountPath": str(part), "subPath": str(part.relative_to(paths.STORE_MOUNT))}
    return [volume], [mount]


def run_volume() -> tuple[dict[str, Any], dict[str, Any]]:
    """The volume that shows the run spec, a pod annotation, as a file; and its mount."""
    volume = {
        "name": "run",
        "downwardAPI": {
            "items": [
                {
                    "path": paths.RUN_FILE.name,
                    "fieldRef": {"fieldPath": f"metadata.annotations['{paths.RUN_ANNOTATION}']"},
                }
            ]
        },
    }
    return volume, {"name": "run", "mountPath": str(paths.RUN_FILE.parent), "readOnly": True}


def token_volume() -> tuple[dict[str, Any], dict[str, Any]]:
    """A short-lived token of the pod's service account, where clients look for it."""
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {
            "downwardAPI": {
                "items": [
                    {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}},
                ]
            }
        },
    ]
    mount = {
        "name": "api-token",
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        "readOnly": True,
    }
    return {"name": "api-token", "projected": {"sources": sources}}, mount


def audience_token(volume: str, audience: str, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A short-lived token of the pod for one service of ours, which is good for no other."""
    source = {"path": "token", "audience": audience, "expirationSeconds": 3600}
    made = {"name": volume, "projected": {"sources": [{"serviceAccountToken": source}]}}
    return made, {"name": volume, "mountPath": path, "readOnly": True}


def identity_env() -> list[dict[str, Any]]:
    """Who the pod is: POD_NAME, POD_NAMESPACE, NODE_NAME."""
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "NODE_NAME": "spec.nodeName",
    }
    return [
        {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for key, path in fields.items()
    ]


def empty_dir(volume: str, path: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An emptyDir volume and its mount."""
    return {"name": volume, "emptyDir": options}, {"name": volume, "mountPath": path}
