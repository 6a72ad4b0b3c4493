"""Kubernetes Events (events.k8s.io/v1) about our objects, each sent once in ten minutes.

Decisions name events in their plan (core.plan.Event); runtime/executor.py sends them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from datetime import datetime, timedelta

from modelyard.contract.statustext import micro_timestamp, truncate
from modelyard.core.plan import Event, KubeObject
from modelyard.kube.api import Object

CONTROLLER = "modelyard.dev/operator"
REPEAT_AFTER = timedelta(minutes=10)
"""Time after which the same event is sent again."""
REMEMBERED = 4096
"""Events to remember, of all objects."""


def event_manifest(obj: KubeObject, event: Event, *, instance: str, now: datetime) -> Object:
    """The Event object. Its name follows client-go's convention: object name, dot, time."""
    metadata = obj["metadata"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:200]}.{int(now.timestamp() * 1e6):x}{_suffix(event)}",
            "namespace": metadata["namespace"],
        },
        "eventTime": micro_timestamp(now),
        "type": event.type,
        "reason": event.reason,
        "note": truncate(event.message),
        "action": "Reconciling",
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "regarding": {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
    }


def _suffix(event: Event) -> str:
    """Distinguishes events with the same time."""
    return hashlib.sha256(repr(event).encode()).hexdigest()[:6]


class SentEvents:
    """Remembers which events were sent, so that a flapping object does not send too many."""

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str, Event], datetime] = OrderedDict()

    def is_new(self, uid: str, event: Event, now: datetime) -> bool:
        """Whether an event was not sent within REPEAT_AFTER; records it as sent then."""
        key = (uid, event)
        last = self._sent.get(key)
        if last is not None and now - last < REPEAT_AFTER:
            return False
        self._sent[key] = now
        self._sent.move_to_end(key)
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)
        return True
