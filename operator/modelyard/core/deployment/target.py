"""Which version a Deployment is to serve, and which of its artifacts."""

from __future__ import annotations

from typing import Any

from modelyard.core import meta
from modelyard.core.deployment import reasons
from modelyard.core.deployment.observed import Observed
from modelyard.core.modelversion.resources import GPU_PRODUCT_LABEL
from modelyard.core.plan import Manifest
from modelyard.core.policy import Verdict


def target(observed: Observed) -> dict[str, Any] | Verdict:
    """The version to serve as an api.deployment.ServedVersion, or why there is none."""
    number = observed.spec.version.number
    version = _latest(observed) if number is None else _pinned(observed, number)
    return version if isinstance(version, Verdict) else _served(observed, version)


def _latest(observed: Observed) -> Manifest | Verdict:
    ready = [n for n, v in observed.versions.items() if meta.status(v).get("phase") == "Ready"]
    if ready:
        return observed.versions[max(ready)]
    line = observed.spec.model_line
    if not observed.versions:
        return Verdict(
            reasons.NO_READY_VERSION, f"waiting for a first version of model line {line}"
        )
    last = max(observed.versions)
    phase = meta.status(observed.versions[last]).get("phase") or "Pending"
    return Verdict(
        reasons.NO_READY_VERSION,
        f"waiting for a Ready version of model line {line}: {line}-{last} is {phase}",
    )


def _pinned(observed: Observed, number: int) -> Manifest | Verdict:
    name = f"{observed.spec.model_line}-{number}"
    version = observed.versions.get(number)
    if version is None:
        return Verdict(
            reasons.VERSION_NOT_FOUND,
            f"spec.version.number pins ModelVersion {name}, which does not exist",
        )
    status = meta.status(version)
    phase = status.get("phase")
    if phase in ("Rejected", "Failed"):
        return Verdict(
            reasons.VERSION_REJECTED,
            f"ModelVersion {name} is {phase} and is never served: {status.get('message', '')}",
            stalled=True,
        )
    if phase != "Ready":
        return Verdict(reasons.VERSION_NOT_READY, f"waiting for ModelVersion {name} to be Ready")
    return version


def _served(observed: Observed, version: Manifest) -> dict[str, Any] | Verdict:
    artifacts = meta.status(version).get("artifacts") or []
    scheduling = observed.spec.server.scheduling
    product = ((scheduling.node_selector if scheduling else None) or {}).get(GPU_PRODUCT_LABEL)
    engines = [a for a in artifacts if product and a.get("gpuProduct") == product]
    portable = [a for a in artifacts if a["format"] == "onnx"]
    fitting = next(iter((*engines, *portable)), None)
    if fitting is None:
        return Verdict(
            reasons.NO_FITTING_ARTIFACT,
            f"ModelVersion {meta.name(version)} has no onnx artifact and no engine for the GPU "
            f"type of spec.server.scheduling.nodeSelector ({product or 'none named'})",
            stalled=True,
        )
    return {
        "modelVersion": meta.name(version),
        "version": int(version["spec"]["version"]),
        "artifact": fitting["name"],
        "format": fitting["format"],
        "digest": fitting["digest"],
        "manifestDigest": fitting["manifestDigest"],
    }
