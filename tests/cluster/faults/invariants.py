"""What must hold at every moment, checked against each single change that etcd has made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from modelyard.contract import labels

from ...kinds import MADE_BY_OPERATOR, OPERATORS_ALONE, VERDICTS
from . import rolloutrules
from .journal import Entry, Object
from .world import World, assignments, held, phase

FINAL = {
    **{kind: (*verdict.phases, "Failed") for kind, verdict in VERDICTS.items()},
    "TrainingJob": ("Succeeded",),
}
MADE_ONCE = (
    "Job", *MADE_BY_OPERATOR, "Service", "apps/Deployment", "apps/DaemonSet",
)  # fmt: skip


def violations(history: Iterable[Entry]) -> list[str]:
    """Every broken rule, as `resourceVersion: text`; `history` in order."""
    world = World()
    found: list[str] = []
    for entry in history:
        before = world.take(entry)
        if entry.type != "DELETED":
            texts = (text for rule in RULES for text in rule(world, entry, before))
            found += [f"{entry.version}: {text}" for text in texts]
    return found


def made_once(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """A name is a lock: no child is made again, by whatever mistake. A user may do so."""
    if before or entry.kind not in MADE_ONCE or not _is_child(entry.obj):
        return
    name = entry.obj["metadata"]["name"]
    if (entry.kind, name) in world.seen:
        yield f"{entry.kind} {name} was made a second time"
    world.seen.add((entry.kind, name))


def one_job(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """At most one unfinished Job works for an object in a role."""
    if entry.kind != "Job" or before:
        return
    mine = _work(entry.obj)
    busy = [
        job["metadata"]["name"]
        for job in world.all("Job")
        if _work(job) == mine and not _ended(job) and not _deleting(job)
    ]
    if len(busy) > 1:
        owner = entry.obj["metadata"]["annotations"][labels.OWNER]
        yield f"several Jobs work for {owner} at the same time: {', '.join(busy)}"


def final_phases(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """A verdict is final; a failed training goes on only by its user's wish."""
    old, new, name = phase(before), phase(entry.obj), entry.obj["metadata"]["name"]
    if old in FINAL.get(entry.kind, ()) and new != old:
        yield f"{entry.kind} {name} went from {old} to {new}"
    if entry.kind == "TrainingJob" and old == "Failed" and new != old:
        job = (entry.obj.get("status") or {}).get("jobName")
        if job == (before.get("status") or {}).get("jobName"):
            yield f"TrainingJob {name} left Failed without a new attempt"


def proven(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """What a verdict rests on never changes once written: artifacts, figures, lineage."""
    verdict = VERDICTS.get(entry.kind)
    if verdict is None or not before:
        return
    name = entry.obj["metadata"]["name"]
    old, new = before.get("status") or {}, entry.obj.get("status") or {}
    if before["spec"] != entry.obj["spec"]:
        yield f"the spec of {entry.kind} {name} changed"
    for field in (field for field in verdict.fields if field != "phase"):
        for key, value in _rows(old.get(field)).items():
            if _rows(new.get(field)).get(key) != value:
                yield f"{field} of {entry.kind} {name} changed: {key or value}"


def served(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """No server is assigned, stages or shadows anything but an artifact of a version that is
    Ready."""
    if entry.kind != "ModelServer":
        return
    known = assignments(before) if before else {}
    for part, version in assignments(entry.obj).items():
        if known.get(part) == version:
            continue
        name, wanted = entry.obj["metadata"]["name"], version["modelVersion"]
        found = world.named("ModelVersion", wanted)
        known_digests = world.ready.get(wanted, set())
        # One that was made anew may not be Ready yet, while stable goes on with its former files.
        remade = found is not None and version["digest"] in known_digests
        if not remade and phase(found) != "Ready":
            yield f"ModelServer {name} was {part} {wanted}, which is {phase(found)}"
        elif version["digest"] not in known_digests:
            yield f"ModelServer {name} was {part} an artifact that {wanted} does not have"


def stable(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """What a Deployment calls stable or candidate was Ready."""
    if entry.kind != "Deployment":
        return
    for field in ("stable", "candidate"):
        found = held(entry.obj, field)
        if found is not None and found not in world.ready:
            yield f"Deployment {entry.obj['metadata']['name']}: {field} is {found}, never Ready"


def generations(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """A status is never about a spec of the future, nor goes back to an older one."""
    name = f"{entry.kind} {entry.obj['metadata']['name']}"
    seen = (entry.obj.get("status") or {}).get("observedGeneration")
    if not isinstance(seen, int):
        return
    if seen > entry.obj["metadata"]["generation"]:
        yield f"{name} observed generation {seen}, which does not exist yet"
    if seen < ((before.get("status") or {}).get("observedGeneration") or 0):
        yield f"{name} went back to generation {seen}"


def orphan(world: World, entry: Entry, before: Object) -> Iterator[str]:
    """Every child names an owner by label, annotation and reference alike."""
    metadata = entry.obj["metadata"]
    uid = (metadata.get("labels") or {}).get(labels.OWNER_UID)
    if before or uid is None or entry.kind not in ("Job", "Service", *OPERATORS_ALONE):
        return
    if uid not in [r["uid"] for r in metadata.get("ownerReferences") or ()]:
        yield f"{entry.kind} {metadata['name']} has no reference to its owner"


Rule = Callable[[World, Entry, Object], Iterator[str]]
RULES: tuple[Rule, ...] = (
    made_once,
    one_job,
    final_phases,
    proven,
    served,
    stable,
    rolloutrules.budget,
    rolloutrules.decided,
    rolloutrules.shadows,
    rolloutrules.unshadowed,
    rolloutrules.waves,
    rolloutrules.rejected,
    generations,
    orphan,
)


def _rows(value: Any) -> Mapping[str, Any]:
    """A list of named rows by name, or a single figure."""
    if not isinstance(value, list):
        return {} if value is None else {"": value}
    return {str(r.get("name") or r.get("artifact") or r.get("metric") or r): r for r in value}


def _is_child(obj: Object) -> bool:
    return labels.OWNER_UID in (obj["metadata"].get("labels") or {})


def _work(job: Object) -> tuple[str, str]:
    found = job["metadata"].get("labels") or {}
    return found.get(labels.OWNER_UID, ""), found.get(labels.ROLE, "")


def _ended(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    done = ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget")
    return any(c["type"] in done and c["status"] == "True" for c in conditions)


def _deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))
