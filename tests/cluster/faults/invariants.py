"""What must hold at every moment, checked against each single change that etcd has made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from modelyard.contract import labels

from .journal import Entry, Object

FINAL = {"ModelVersion": ("Ready", "Rejected", "Failed"), "TrainingJob": ("Succeeded",)}
RETRY = "modelyard.dev/retry"
PROVEN = ("artifacts", "evaluations", "gates", "mAP50", "mAP50to95")
"""What a ModelVersion's verdict rests on."""
MADE_ONCE = (
    "Job", "ModelVersion", "ModelServer", "Service", "apps/Deployment", "apps/DaemonSet",
)  # fmt: skip


def violations(history: Iterable[Entry]) -> list[str]:
    """Every broken rule, as `resourceVersion: text`; `history` in order."""
    world = World()
    found = []
    for entry in history:
        found += [f"{entry.version}: {text}" for text in world.take(entry)]
    return found


class World:
    """All objects as they were at one moment."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[str, Object]] = {}
        """By UID: kind and object."""
        self._seen: set[tuple[str, str]] = set()
        self._ready: set[str] = set()
        """Names of ModelVersions that were ever Ready."""

    def take(self, entry: Entry) -> Iterator[str]:
        """Let a change happen; yields the rules that it breaks."""
        uid = entry.obj["metadata"]["uid"]
        before = self._objects.get(uid, ("", {}))[1]
        if entry.type == "DELETED":
            self._objects.pop(uid, None)
            return
        self._objects[uid] = (entry.kind, entry.obj)
        if entry.kind == "ModelVersion" and _phase(entry.obj) == "Ready":
            self._ready.add(entry.obj["metadata"]["name"])
        for rule in RULES:
            yield from rule(self, entry, before)

    def all(self, kind: str) -> list[Object]:
        """Objects of a kind."""
        return [obj for found, obj in self._objects.values() if found == kind]

    def named(self, kind: str, name: str) -> Object | None:
        """An object, or None."""
        return next((o for o in self.all(kind) if o["metadata"]["name"] == name), None)

    def made_once(self, entry: Entry, before: Object) -> Iterator[str]:
        """A name is a lock: no child is made again, by whatever mistake."""
        if before or entry.kind not in MADE_ONCE:
            return
        name = entry.obj["metadata"]["name"]
        if (entry.kind, name) in self._seen:
            yield f"{entry.kind} {name} was made a second time"
        self._seen.add((entry.kind, name))

    def one_job(self, entry: Entry, before: Object) -> Iterator[str]:
        """At most one unfinished Job works for an object in a role."""
        if entry.kind != "Job" or before:
            return
        mine = _work(entry.obj)
        busy = [
            job["metadata"]["name"]
            for job in self.all("Job")
            if _work(job) == mine and not _ended(job) and not _deleting(job)
        ]
        if len(busy) > 1:
            owner = entry.obj["metadata"]["annotations"][labels.OWNER]
            yield f"several Jobs work for {owner} at the same time: {', '.join(busy)}"

    def final_phases(self, entry: Entry, before: Object) -> Iterator[str]:
        """A verdict is final; a failed training goes on only by its user's wish."""
        old, new, name = _phase(before), _phase(entry.obj), entry.obj["metadata"]["name"]
        if old in FINAL.get(entry.kind, ()) and new != old:
            yield f"{entry.kind} {name} went from {old} to {new}"
        if entry.kind == "TrainingJob" and old == "Failed" and new != old:
            job = (entry.obj.get("status") or {}).get("jobName")
            if job == (before.get("status") or {}).get("jobName"):
                yield f"TrainingJob {name} left Failed without a new attempt"

    def proven(self, entry: Entry, before: Object) -> Iterator[str]:
        """A version's artifacts, figures and lineage never change once written."""
        if entry.kind != "ModelVersion" or not before:
            return
        name = entry.obj["metadata"]["name"]
        old, new = before.get("status") or {}, entry.obj.get("status") or {}
        if before["spec"] != entry.obj["spec"]:
            yield f"the spec of ModelVersion {name} changed"
        for field in PROVEN:
            for key, value in _rows(old.get(field)).items():
                if _rows(new.get(field)).get(key) != value:
                    yield f"{field} of ModelVersion {name} changed: {key or value}"

    def served(self, entry: Entry, before: Object) -> Iterator[str]:
        """No server is told to hold anything but an artifact of a version that is Ready."""
        if entry.kind != "ModelServer":
            return
        assigned = entry.obj["spec"]["assigned"]
        if before and before["spec"]["assigned"] == assigned:
            return
        name, wanted = entry.obj["metadata"]["name"], assigned["modelVersion"]
        version = self.named("ModelVersion", wanted)
        if version is None or _phase(version) != "Ready":
            yield f"ModelServer {name} was assigned {wanted}, which is {_phase(version)}"
        elif assigned["digest"] not in [a["digest"] for a in version["status"]["artifacts"]]:
            yield f"ModelServer {name} was assigned an artifact that {wanted} does not have"

    def stable(self, entry: Entry, before: Object) -> Iterator[str]:
        """What a Deployment calls stable or candidate was Ready."""
        if entry.kind != "Deployment":
            return
        for field in ("stable", "candidate"):
            held = ((entry.obj.get("status") or {}).get(field) or {}).get("modelVersion")
            if held is not None and held not in self._ready:
                yield f"Deployment {entry.obj['metadata']['name']}: {field} is {held}, never Ready"

    def budget(self, entry: Entry, before: Object) -> Iterator[str]:
        """At most maxUnavailable servers (of a pool) go to a new version at the same time. Those
        that go back to the stable one may all do so at once."""
        if entry.kind != "ModelServer":
            return
        name = entry.obj["spec"]["deployment"]
        owner = self.named("Deployment", name)
        if owner is None:
            return
        stable = _held(owner, "stable")
        switching = Counter(
            s["spec"].get("pool", "")
            for s in self.all("ModelServer")
            if s["spec"]["deployment"] == name
            and s["spec"]["assigned"]["modelVersion"] != stable
            and ((s.get("status") or {}).get("loaded") or {}).get("version")
            not in (None, s["spec"]["assigned"]["version"])
        )
        if switching and max(switching.values()) > int(owner["spec"]["rollout"]["maxUnavailable"]):
            yield f"{switching.total()} servers of Deployment {name} switch at the same time"

    def decided(self, entry: Entry, before: Object) -> Iterator[str]:
        """A server is told only what the Deployment's status says: a crash forgets nothing."""
        if entry.kind != "ModelServer":
            return
        owner = self.named("Deployment", entry.obj["spec"]["deployment"])
        told = {*_told(entry.obj)} - ({*_told(before)} if before else set())
        known = {_held(owner, "stable"), _held(owner, "candidate")}
        if owner is not None and told - known:
            name, versions = entry.obj["metadata"]["name"], ", ".join(sorted(told - known))
            yield f"ModelServer {name} was told of {versions} before the Deployment's status"

    def waves(self, entry: Entry, before: Object) -> Iterator[str]:
        """In the first step of a rollout no more servers hold the candidate than it wants."""
        if entry.kind != "ModelServer":
            return
        name = entry.obj["spec"]["deployment"]
        owner = self.named("Deployment", name)
        state = ((owner or {}).get("status") or {}).get("rollout") or {}
        if not state or state.get("step", 0) > 1:
            return
        on = [
            s["metadata"]["name"]
            for s in self.all("ModelServer")
            if s["spec"]["deployment"] == name
            and s["spec"]["assigned"]["modelVersion"] == _held(owner, "candidate")
        ]
        want = state["target"] if state["stage"] == "Step" else 0
        if len(on) > want:
            yield f"{len(on)} servers of Deployment {name} were told to switch, the wave has {want}"

    def rejected(self, entry: Entry, before: Object) -> Iterator[str]:
        """What was rolled back is not tried again by itself."""
        if entry.kind != "Deployment" or not before:
            return
        old, new = before.get("status") or {}, entry.obj.get("status") or {}
        refused = (old.get("rejected") or {}).get("modelVersion")
        asked = (entry.obj["metadata"].get("annotations") or {}).get(RETRY)
        if refused and _held(entry.obj, "candidate") == refused and not asked:
            yield f"Deployment {entry.obj['metadata']['name']} tries {refused} again"
        if (new.get("revision") or 0) < (old.get("revision") or 0):
            yield f"Deployment {entry.obj['metadata']['name']} lost count of its rollouts"

    def generations(self, entry: Entry, before: Object) -> Iterator[str]:
        """A status is never about a spec of the future, nor goes back to an older one."""
        name = f"{entry.kind} {entry.obj['metadata']['name']}"
        seen = (entry.obj.get("status") or {}).get("observedGeneration")
        if not isinstance(seen, int):
            return
        if seen > entry.obj["metadata"]["generation"]:
            yield f"{name} observed generation {seen}, which does not exist yet"
        if seen < ((before.get("status") or {}).get("observedGeneration") or 0):
            yield f"{name} went back to generation {seen}"

    def orphan(self, entry: Entry, before: Object) -> Iterator[str]:
        """Every child names an owner by label, annotation and reference alike."""
        metadata = entry.obj["metadata"]
        uid = (metadata.get("labels") or {}).get(labels.OWNER_UID)
        if before or uid is None or entry.kind not in ("Job", "Service", "ModelServer"):
            return
        if uid not in [r["uid"] for r in metadata.get("ownerReferences") or ()]:
            yield f"{entry.kind} {metadata['name']} has no reference to its owner"


Rule = Callable[[World, Entry, Object], Iterator[str]]
RULES: tuple[Rule, ...] = (
    World.made_once,
    World.one_job,
    World.final_phases,
    World.proven,
    World.served,
    World.stable,
    World.budget,
    World.decided,
    World.waves,
    World.rejected,
    World.generations,
    World.orphan,
)


def _phase(obj: Object | None) -> str | None:
    return ((obj or {}).get("status") or {}).get("phase")


def _held(deployment: Object | None, field: str) -> str | None:
    """Name of the version that a Deployment's status gives as stable or candidate."""
    status = (deployment or {}).get("status") or {}
    found: str | None = (status.get(field) or {}).get("modelVersion")
    return found


def _told(server: Object) -> Iterator[str]:
    """Names of the versions that a ModelServer's spec tells of."""
    spec = server["spec"]
    for one in (spec["assigned"], spec.get("staged"), (spec.get("shadow") or {}).get("version")):
        if one:
            yield one["modelVersion"]


def _rows(value: Any) -> Mapping[str, Any]:
    """A list of named rows by name, or a single figure."""
    if not isinstance(value, list):
        return {} if value is None else {"": value}
    return {str(r.get("name") or r.get("artifact") or r.get("metric") or r): r for r in value}


def _work(job: Object) -> tuple[str, str]:
    found = job["metadata"].get("labels") or {}
    return found.get(labels.OWNER_UID, ""), found.get(labels.ROLE, "")


def _ended(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    done = ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget")
    return any(c["type"] in done and c["status"] == "True" for c in conditions)


def _deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))
