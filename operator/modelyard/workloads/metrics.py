"""The metrics of a model (mAP50, mAP50to95, precision, recall) from Ultralytics' results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

METRICS = {
    "mAP50": "metrics/mAP50(B)",
    "mAP50to95": "metrics/mAP50-95(B)",
    "precision": "metrics/precision(B)",
    "recall": "metrics/recall(B)",
}
"""Our names of Ultralytics' figures."""


def metrics_of(results: Mapping[str, Any]) -> dict[str, float]:
    """Ultralytics' figures under our names; those that are missing or not finite are left out."""
    found = {ours: results.get(theirs) for ours, theirs in METRICS.items()}
    return {
        name: round(float(value), 5)
        for name, value in found.items()
        if value is not None and math.isfinite(float(value))
    }
