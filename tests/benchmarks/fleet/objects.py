"""The objects that the benchmark declares: model versions and Deployments with an edge target."""

from __future__ import annotations

import hashlib
from typing import Any

from modelyard.api.base import API_VERSION
from modelyard.kube.kinds import by_name
from modelyard.workloads.agent.window import SECONDS as WINDOW

from ..api import SPACE, Api, Manifest
from .nodes import EDGE, PRODUCT, REGION

VERSION, DEPLOYMENT = by_name("ModelVersion"), by_name("Deployment")
_MOMENT = "2026-01-01T00:00:00Z"
_DIGEST = "sha256:" + "a" * 64

WAVES = (1, 10, 100)
"""Percent."""


def metric(name: str, figure: str, samples: int, count: int, **bounds: float) -> Manifest:
    """One metric of an analysis: `count` measurements within the bounds, one outside rolls back.

    As often as agents report on a young version: more often would measure the same report again.
    """
    return {
        "name": name,
        "metric": figure,
        **bounds,
        "minSamples": samples,
        "interval": "10s",
        "count": count,
        "inconclusiveLimit": 24,
    }


def analysis(servers: int, requests: float) -> Manifest:
    """Errors, latency and confidence, on as many samples as the first wave's servers have in their
    reports: at most 60 s of `requests` a second each, of which the slowest may have fewer.

    With 300 requests, 8 % errors look like 2 % once in 10⁵ times, and 0.2 % like 2 % once in 10⁶.
    """
    samples = int(min(300, 0.7 * WINDOW * requests * servers))
    return {
        "metrics": [
            metric("errors", "ErrorRate", samples, 2, max=0.02),
            metric("p95", "LatencyP95", samples, 2, maxRatio=1.5),
            metric("confidence", "Confidence", samples, 2, minRatio=0.92),
        ]
    }


SHADOW = {
    "share": 0.5,
    "duration": "15s",
    "servers": "5%",
    "analysis": {"metrics": [metric("agreement", "Agreement", 150, 1, min=0.9)]},
}


def deployment(
    name: str,
    *,
    most: str = "25%",
    judged: Manifest | None = None,
    shadow: bool = False,
    prestage: bool = False,
    offline_after: str = "5m",
) -> Manifest:
    """A Deployment on all edge nodes, in waves with pauses of no length.

    `most`: maxUnavailable of a pool; `judged`: the analysis that follows each wave.
    """
    steps: list[dict[str, Any]] = [{"weight": w, "pause": {"duration": "0s"}} for w in WAVES]
    rollout: Manifest = {"maxUnavailable": most, "failureBudget": 0, "steps": steps}
    if judged is not None:
        rollout["analysis"] = judged
    if shadow:
        rollout["shadow"] = SHADOW
    if prestage:
        rollout |= {"prestage": True, "prestageConcurrency": most}
    edge = {
        "nodeSelector": {EDGE: "true"},
        "pools": {"label": REGION},
        "offlineAfter": offline_after,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"modelLine": name, "target": {"edge": edge}, "rollout": rollout},
    }


def _artifact(name: str, line: str, number: int, **more: str) -> Manifest:
    def digest(what: str) -> str:
        text = f"{line}/{number}/{name}/{what}".encode()
        return f"sha256:{hashlib.sha256(text).hexdigest()}"

    return {
        "name": name,
        "format": "onnx",
        "digest": digest("file"),
        "manifestDigest": digest("manifest"),
        "sizeBytes": 12_000_000,
        **more,
    }


async def release(api: Api, line: str, number: int) -> None:
    """A ModelVersion that is Ready: for any hardware as ONNX, for one GPU type as an engine."""
    name = f"{line}-{number}"
    await api.create(
        VERSION,
        {
            "apiVersion": API_VERSION,
            "kind": "ModelVersion",
            "metadata": {"name": name, "namespace": SPACE},
            "spec": {
                "modelLine": line,
                "version": number,
                "weights": {"uri": f"s3://models/{name}.onnx", "digest": _DIGEST, "format": "onnx"},
                "exports": [{"name": "onnx", "format": "onnx"}],
                "dataset": {"name": line, "digest": _DIGEST},
            },
        },
    )
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "GatesPassed",
        "message": "",
        "lastTransitionTime": _MOMENT,
        "observedGeneration": 1,
    }
    engine = _artifact("orin", line, number, format="tensorrt", gpuProduct=PRODUCT)
    status = {
        "phase": "Ready",
        "observedGeneration": 1,
        "conditions": [condition],
        "artifacts": [_artifact("onnx", line, number), engine],
    }
    await api.patch(VERSION, name, {"status": status})
