"""Pods that the API server refuses to make: as for a ResourceQuota, a LimitRange or Pod Security.

A Deployment of `apps` says so in a condition. A Job and a DaemonSet say nothing; their controllers
only send an Event (FailedCreate). So these events are watched, and no others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelyard.core import ownership
from modelyard.core.plan import Key, KubeObject, Mapper, View
from modelyard.core.podstate import Trouble

EVENT = "core/Event"
"""Name of the kind in the cache."""
ABOUT = "about"
"""Index of events by the UID of the object that they are about."""
QUOTA_EXCEEDED = "QuotaExceeded"
POD_FORBIDDEN = "PodForbidden"

_KINDS = {"Job": "Job", "DaemonSet": "apps/DaemonSet"}
"""Kinds that events are about, and their names in the cache."""
_NAME = re.compile(r'^(Error creating: )?pods "[^"]*" is ')
"""Each attempt has another random name: a message with it would change for ever."""


def refused(words: str) -> Trouble:
    """The API server's words as a reason, and what to do."""
    text = f"pods are refused: {_NAME.sub('', words)}"
    if "exceeded quota" not in words:
        return Trouble(POD_FORBIDDEN, text)
    return Trouble(
        QUOTA_EXCEEDED, f"{text}. Raise this ResourceQuota, free what it counts, or ask for less"
    )


def refusal(view: View, maker: KubeObject) -> tuple[str, str]:
    """(time, the API server's words) of the last pod that it refused a Job or DaemonSet; empty
    texts if it refused none lately. Times are RFC 3339, and compare as texts."""
    namespace = maker["metadata"].get("namespace", "")
    found = view.projections(EVENT, namespace, ABOUT, ownership.place(maker).uid)
    return max(found, default=("", ""))


def about(event: KubeObject) -> Mapping[str, Any]:
    """Index function: the UID of the object, with time and words."""
    uid = (event.get("involvedObject") or {}).get("uid")
    moment = event.get("lastTimestamp") or event.get("eventTime") or ""
    return {str(uid): (str(moment), str(event.get("message") or ""))} if uid else {}


def mapper(kind: str, children: Iterable[str]) -> Mapper:
    """From an event to the object of a kind for whose child no pod could be made."""
    known = frozenset(children)

    def map_(event: KubeObject, view: View) -> Iterator[Key]:
        involved = event.get("involvedObject") or {}
        child = _KINDS.get(str(involved.get("kind")))
        if child not in known:
            return
        namespace = event["metadata"].get("namespace", "")
        found = view.get(str(child), namespace, str(involved.get("name")))
        owner = ownership.parent(found) if found is not None else None
        if owner is not None and owner[0] == kind:
            yield Key(kind, namespace, owner[1])

    return map_
