"""One object of each kind that people write, for tests of the real controllers."""

from __future__ import annotations

from typing import Any

DIGEST = "sha256:" + "a" * 64

CHAIN: dict[str, Any] = {
    "datasets": {"source": {"http": {"url": "http://example.com/d.zip"}}},
    "trainingjobs": {
        "model": "yolo11n.yaml",
        "dataset": {"name": "shelf-1"},
        "output": {"modelLine": "other"},
    },
    "modelversions": {
        "modelLine": "shelf",
        "version": 1,
        "weights": {"uri": "s3://modelyard/x.onnx", "digest": DIGEST, "format": "onnx"},
        "exports": [{"name": "onnx", "format": "onnx"}],
        "dataset": {"name": "shelf-1", "digest": DIGEST},
    },
    "deployments": {"modelLine": "shelf", "target": {"cluster": {"replicas": 2}}},
}
KINDS = {
    "datasets": "Dataset",
    "trainingjobs": "TrainingJob",
    "modelversions": "ModelVersion",
    "deployments": "Deployment",
}
READY: dict[str, Any] = {
    "phase": "Ready",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "GatesPassed",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
    "artifacts": [
        {
            "name": "onnx",
            "format": "onnx",
            "digest": DIGEST,
            "manifestDigest": DIGEST,
            "sizeBytes": 10,
        }
    ],
}
