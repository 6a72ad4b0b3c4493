"""States and histories without what differs from run to run: UIDs, times, random names."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from modelyard.contract import labels

from ...kinds import PLURALS
from .journal import Entry, Object
from .resources import COLLECTIONS, plain, subject

OURS = frozenset(PLURALS)
OPERATOR = "modelyard.dev/operator"
EXAMINED = tuple(kind for kind in COLLECTIONS if kind != "Event")
UNSTABLE = {
    "resourceVersion", "managedFields", "clusterIP", "clusterIPs", "modelyard.dev/applied-hash",
}  # fmt: skip
"""Keys that say nothing, or hash what differs."""
HASHES = ("pod-template-hash", "controller-revision-hash", labels.TEMPLATE)
"""Labels of pods that hash what differs; the hashes show up elsewhere too. TEMPLATE is also an
annotation of what makes pods."""
_TOKEN = re.compile(r"kube-api-access-[0-9a-z]{5}")
"""The volume that admission adds for a service account's token."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def state(history: Iterable[Entry], live: Mapping[str, Iterable[Object]], space: str) -> list[str]:
    """What exists in a namespace: one line of JSON an object, sorted."""
    known = _names(history)
    lines = []
    for kind in EXAMINED:
        for obj in live[kind]:
            text = json.dumps({"kind": kind, **_reduced(kind, obj)}, sort_keys=True)
            for name, replacement in known:
                text = text.replace(name, replacement)
            text = _TOKEN.sub("kube-api-access", text)
            lines.append(_TIME.sub("TIME", text.replace(space, "SPACE")))
    return sorted(lines)


def changes(history: Iterable[Entry]) -> Counter[str]:
    """How often something of each name was created and deleted."""
    return Counter(
        f"{'created' if e.type == 'ADDED' else 'deleted'} {e.kind} "
        f"{plain(e.kind, e.obj['metadata']['name'])}"
        for e in history
        if e.type != "MODIFIED" and e.kind in EXAMINED
    )


def events(history: Iterable[Entry]) -> Counter[str]:
    """How often the operator created an Event about each subject and reason."""
    return Counter(
        subject(e.obj)
        for e in history
        if e.kind == "Event" and e.type == "ADDED" and e.obj.get("reportingController") == OPERATOR
    )


def notes(history: Iterable[Entry], event: str) -> list[str]:
    """The texts of the Events about one subject and reason, in their order."""
    return [
        str(e.obj.get("note"))
        for e in history
        if e.kind == "Event" and e.type == "ADDED" and subject(e.obj) == event
    ]


def differences(wanted: Iterable[str], found: Iterable[str]) -> str:
    """What two states do not have in common, for people; empty if they are equal."""
    one, other = Counter(wanted), Counter(found)
    lost, more = sorted((one - other).elements()), sorted((other - one).elements())
    texts = []
    for before, after in zip(lost, more, strict=False):
        texts += list(_paths(json.loads(before), json.loads(after), _title(before)))
    texts += [f"missing: {line}" for line in lost[len(more) :]]
    texts += [f"too much: {line}" for line in more[len(lost) :]]
    return "\n".join(texts)


def _names(history: Iterable[Entry]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for entry in history:
        metadata = entry.obj["metadata"]
        name = metadata["name"]
        short = plain(entry.kind, name)
        found[metadata["uid"]] = f"UID({entry.kind} {short})"
        if short != name:
            found[name] = short
        marks = (metadata.get("labels") or {}) if entry.kind == "Pod" else {}
        found.update({marks[key]: "HASH" for key in HASHES if key in marks})
        template = (metadata.get("annotations") or {}).get(labels.TEMPLATE)
        if template:
            found[template] = "HASH"
    return sorted(found.items(), key=lambda pair: -len(pair[0]))


def _reduced(kind: str, obj: Object) -> Object:
    kept = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion")}
    if kind == "Job":
        conditions = (obj.get("status") or {}).get("conditions") or ()
        kept["status"] = sorted(f"{c['type']}={c['status']} {c.get('reason')}" for c in conditions)
    elif kind == "Pod":
        kept["status"] = (obj.get("status") or {}).get("phase")
    elif kind not in OURS:
        kept.pop("status", None)  # Controllers' own, in whatever order they got there.
    return _without(kept)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in UNSTABLE}
    if isinstance(value, list):
        return [_without(item) for item in value]
    return value


def _title(line: str) -> str:
    obj = json.loads(line)
    return f"{obj['kind']} {obj['metadata']['name']}"


def _paths(wanted: Any, found: Any, path: str) -> Iterable[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(wanted.keys() | found.keys()):
            yield from _paths(wanted.get(key), found.get(key), f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _paths(one, other, f"{path}[{number}]")
    elif wanted != found:
        yield f"{path}: wanted {json.dumps(wanted)}, found {json.dumps(found)}"
