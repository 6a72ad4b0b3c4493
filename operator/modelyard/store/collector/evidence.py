"""What a namespace's objects say about what they need."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from modelyard.contract.statustext import parse_timestamp
from modelyard.store.collector.captures import MENTION, retention_of

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NO_BLOB = re.compile(
    r'\\*"(?:contentDigest|insteadOfContentDigest|image|imageID)\\*":\s*\\*"[^"\\]*\\*"'
)
"""Fields, also in JSON within JSON, whose digests name nothing in the store: a digest over digests,
and container images. Asked for there, they would be reported as missing."""


@dataclass(frozen=True)
class Evidence:
    """Taken from the API server at one time."""

    owner: str
    """UID of the namespace."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Digests that objects mention, each with one of these objects, as `Kind name`."""
    trainings: frozenset[str] = frozenset()
    """UIDs of the TrainingJobs, which are the keys of their runs in the store."""
    retentions: Mapping[str, timedelta] = field(default_factory=dict)
    """How long captures of each Modelyard Deployment are kept, by its name."""
    captures: frozenset[str] = frozenset()
    """Keys of captures that objects mention."""
    busy_since: datetime | None = None
    """When the oldest unfinished Job began; None if there is none."""


def evidence_of(
    namespace: Mapping[str, Any],
    objects: Iterable[Mapping[str, Any]],
    jobs: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
) -> Evidence:
    """From the Namespace, **all** objects of our kinds in it, and all Jobs and pods of ours.

    The items of a list lack their kind, so each caller adds it.
    """
    digests: dict[str, str] = {}
    trainings: set[str] = set()
    busy: datetime | None = None
    retentions: dict[str, timedelta] = {}
    captures: set[str] = set()
    for obj in objects:
        _mention(obj, digests)
        captures |= captures_in(json.dumps(obj))
        kept = retention_of(obj) if obj.get("kind") == "Deployment" else None
        if kept is not None:
            retentions[str(obj["metadata"]["name"])] = kept
        if obj.get("kind") == "TrainingJob":
            trainings.add(str(obj["metadata"]["uid"]))
    for job in jobs:
        _mention(job, digests)
        if not _finished(job):
            began = parse_timestamp(job["metadata"]["creationTimestamp"])
            busy = began if busy is None else min(busy, began)
    for pod in pods:
        _mention(pod, digests)
    return Evidence(
        owner=str(namespace["metadata"]["uid"]),
        digests=digests,
        trainings=frozenset(trainings),
        retentions=retentions,
        captures=frozenset(captures),
        busy_since=busy,
    )


def digests_in(text: str) -> set[str]:
    """All digests that a text mentions."""
    return set(DIGEST.findall(text))


def captures_in(text: str) -> set[str]:
    """All keys of captures that a text mentions."""
    return set(MENTION.findall(text))


def _mention(obj: Mapping[str, Any], digests: dict[str, str]) -> None:
    # Anywhere: an annotation with a run spec and a termination message are JSON within JSON.
    name = f"{obj.get('kind')} {obj['metadata']['name']}"
    for digest in digests_in(_NO_BLOB.sub("", json.dumps(obj))):
        digests.setdefault(digest, name)


def _finished(job: Mapping[str, Any]) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(
        one.get("type") in ("Complete", "Failed") and one.get("status") == "True"
        for one in conditions
    )
