"""What the collector's run found, as one JSON document of bounded size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelyard.contract.statustext import timestamp, truncate
from modelyard.store.collector import Report
from modelyard.workloads.collect.settings import Settings

FILE = "report.json"
"""Key in the ConfigMap."""
NAMESPACES = 100
"""Namespaces that are listed: the largest; about 40 kB."""
MISSING = 5
"""Missing digests that are named for each."""


def document(reports: Mapping[str, Report], settings: Settings, finished: datetime) -> str:
    """The document; runtime/storeusage.py reads it."""
    largest = sorted(reports, key=lambda name: (-reports[name].bytes, name))
    shown = sorted(largest[:NAMESPACES])
    content = {
        "finishedTime": timestamp(finished),
        "dryRun": not settings.policy.delete,
        "capacityBytes": settings.capacity,
        "bytes": sum(one.bytes for one in reports.values()),
        "omittedNamespaces": len(reports) - len(shown),
        "namespaces": [_entry(name, reports[name]) for name in shown],
    }
    return json.dumps(content, indent=1)


def _entry(namespace: str, report: Report) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "bytes": report.bytes,
        "blobs": report.blobs,
        "unneededBytes": report.unneeded_bytes,
        "dueBytes": report.due_bytes,
        "deletedBytes": report.deleted_bytes,
        "captures": report.captures,
        "captureBytes": report.capture_bytes,
        "expiredCaptureFiles": report.captures_expired,
        "unfinishedUploads": report.uploads,
        "dueUploads": report.uploads_due,
        "abortedUploads": report.uploads_aborted,
        "missingBlobs": len(report.missing),
        "missing": [{"digest": d, "neededBy": by} for d, by in report.missing[:MISSING]],
        "problem": truncate(report.problem, 240),
    }
