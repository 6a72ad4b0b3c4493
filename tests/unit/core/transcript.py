"""What happened in a story: who did what when, what the operator decided then, and why.

A failing test prints it (conftest.py), so that one sees the way to the wrong end and not the end
alone. What others do is found by comparing short facts of all objects, so that a test may change
an object in place and it is still told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from modelyard.core.plan import Apply, Event, KubeObject

from .feed import ObjectKey

MAX_LINES = 300
"""Last lines that are printed: a random story may be long."""
_WHO = {
    "Deployment": "user",
    "ModelVersion": "user",
    "Node": "node",
    "Pod": "kubernetes",
    "ModelServer": "agent",
}
"""Who changes objects of a kind, if it is not the operator."""
Facts = dict[str, str]


class Transcript:
    """Lines in the order of what happened."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._facts: dict[ObjectKey, Facts] = {}
        self._decided: tuple[Any, ...] = ()

    def observe(
        self,
        changed: Iterable[ObjectKey],
        objects: Mapping[ObjectKey, KubeObject],
        now: datetime,
        *,
        by_operator: bool = False,
    ) -> None:
        """Note what has become of objects; what the operator does, its decisions tell."""
        changes: dict[tuple[str, str], list[str]] = {}
        for kind, name in changed:
            if kind not in _WHO:
                continue
            before, obj = self._facts.pop((kind, name), None), objects.get((kind, name))
            after = None if obj is None else facts(kind, obj)
            if after is not None:
                self._facts[kind, name] = after
            text = _change(before, after)
            if text and not by_operator:
                changes.setdefault((kind, text), []).append(name)
        for (kind, text), names in changes.items():
            self._add(now, _WHO[kind], f"{kind} {', '.join(names)}: {text}")

    def note(self, who: str, what: str, now: datetime) -> None:
        """Note something that no object shows."""
        self._add(now, who, what)

    def decided(
        self,
        plan: Apply,
        *,
        status: KubeObject,
        writes: Iterable[str],
        events: Iterable[Event],
        now: datetime,
    ) -> None:
        """Note a decision, unless it says and does what the one before did."""
        lines = [*_state(status), *writes]
        lines += [f"event {one.type} {one.reason}: {one.message}" for one in events]
        said = (status.get("phase"), status.get("message"), *_state(status))
        if said == self._decided and len(lines) == len(_state(status)):
            return
        self._decided = said
        after = "" if plan.requeue_after is None else f" (again in {plan.requeue_after:g} s)"
        self._add(now, "operator", f"{status.get('phase')}: {status.get('message')}{after}")
        self._lines += [f"{'':23}{line}" for line in lines]

    def _add(self, now: datetime, who: str, what: str) -> None:
        self._lines.append(f"{now:%d %H:%M:%S} {who:10} {what}")

    def __str__(self) -> str:
        hidden = len(self._lines) - MAX_LINES
        first = [f"… {hidden} earlier lines"] if hidden > 0 else []
        return "\n".join(["What happened:", *first, *self._lines[-MAX_LINES:]])


def facts(kind: str, obj: KubeObject) -> Facts:
    """What a reader must know of an object, as short texts by field. What the operator itself
    writes is left out: its decisions tell it."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    found: Facts = {"uid": str(metadata.get("uid"))}
    if kind == "Deployment":
        found |= _flat("spec", spec, depth=2)
        notes = metadata.get("annotations") or {}
        found |= {k: v for k, v in notes.items() if k.startswith("modelyard.dev/")}
    elif kind == "ModelVersion":
        digests = [short(a["digest"]) for a in status.get("artifacts") or ()]
        found |= {"phase": str(status.get("phase")), "digest": ", ".join(digests)}
    elif kind == "Node":
        found |= dict(metadata.get("labels") or {}) | _conditions(status)
    elif kind == "Pod":
        found |= {"phase": str(status.get("phase"))} | _conditions(status)
    elif status:
        found |= {"phase": str(status.get("phase"))}
        if status.get("loaded"):
            found["loaded"] = release(status["loaded"])
        if status.get("phase") == "Failed":
            found["message"] = str(status.get("message"))
        figures = status.get("figures") or {}
        if figures:
            found["figures"] = f"{figures.get('failures')} of {figures.get('requests')} fail"
        for field in ("staged", "shadow"):
            if field in status:
                failed = "failure" in status[field]
                found[field] = release(status[field]) + (" failed" if failed else "")
    return found


def _flat(path: str, value: Any, *, depth: int) -> Facts:
    if not isinstance(value, Mapping) or depth == 0:
        return {path: str(value)}
    found: Facts = {}
    for key, one in value.items():
        found |= _flat(f"{path}.{key}", one, depth=depth - 1)
    return found


def _conditions(status: Mapping[str, Any]) -> Facts:
    shown = ("Ready", "PodScheduled")
    return {c["type"]: c["status"] for c in status.get("conditions") or () if c["type"] in shown}


def _change(before: Facts | None, after: Facts | None) -> str:
    """What became of an object, for people; empty if nothing did."""
    if before == after:
        return ""
    if after is None:
        return "deleted"
    if before is None or before["uid"] != after["uid"]:
        text = ", ".join(f"{k} {v}" for k, v in after.items() if k != "uid" and v)
        return f"{'created' if before is None else 'created anew'} ({text})"
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    return ", ".join(f"{k} {before.get(k, '-')} → {after.get(k, '-')}" for k in changed)


def short(digest: str) -> str:
    """A digest's last characters: test digests differ there."""
    return f"…{digest[-4:]}"


def release(held: Mapping[str, Any]) -> str:
    """A version as it is held: name and digest."""
    return f"{held['modelVersion']}@{short(held['digest'])}"


def _state(status: KubeObject) -> list[str]:
    """The rollout's position, as the status tells it."""
    named = [
        f"{field} {release(status[field])}"
        for field in ("stable", "candidate")
        if status.get(field)
    ]
    if status.get("rejected"):
        named.append(f"rejected {status['rejected']['modelVersion']}")
    rollout = status.get("rollout")
    if rollout:
        step = f" {rollout['step']} of {rollout['steps']}" if rollout.get("step") else ""
        named.append(f"{rollout['stage']}{step}, {rollout['done']} of {rollout['target']} servers")
        if rollout.get("paused"):
            named.append(f"paused ({rollout['paused']['reason']})")
        for metric in (rollout.get("analysis") or {}).get("metrics") or ():
            named.append(f"{metric['name']} {metric['phase']} {metric.get('value', '')}".rstrip())
    return [", ".join(named)] if named else []


def server_change(before: KubeObject | None, after: KubeObject) -> str:
    """What a ModelServer's new spec asks for, for people; empty if it only names another pod."""
    old, new = (before or {}).get("spec") or {}, after["spec"]
    parts = []
    for field in ("assigned", "staged", "shadow"):
        was, now = (_of(one.get(field)) for one in (old, new))
        if was != now:
            parts.append(f"{field} {was} → {now}")
    return f"writes {after['metadata']['name']}: {', '.join(parts)}" if parts else ""


def _of(version: Any) -> str:
    if not version:
        return "-"
    return release(version.get("version") if "share" in version else version)
