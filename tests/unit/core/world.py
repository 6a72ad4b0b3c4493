"""A small world for decisions: objects in memory, and builders that read like sentences."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from modelyard.api import kind_info
from modelyard.api.base import API_VERSION
from modelyard.contract.result import Outcome
from modelyard.core import ownership
from modelyard.core.controllers import CONTROLLERS
from modelyard.core.plan import Apply, Controller, Create, KubeObject, Plan, QueryResult, Ref
from modelyard.core.settings import Settings

from .feed import Feed, ObjectKey

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
DIGEST_A = "sha256:" + "a" * 64
DIGEST_B = "sha256:" + "b" * 64
DIGEST_C = "sha256:" + "c" * 64
BUILT_IN = {"apps/v1/Deployment": "apps/Deployment", "apps/v1/DaemonSet": "apps/DaemonSet"}


def controller(kind: str) -> Controller:
    return next(c for c in CONTROLLERS if c.kind == kind)


def obj(kind: str, name: str, spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    """One of our objects as the API server would send it."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 1},
        "spec": spec,
        "status": status,
    }


def dataset(name: str = "shelf", **status: Any) -> dict[str, Any]:
    spec = {"source": {"http": {"url": "https://data.example/shelf.zip"}}}
    return obj("Dataset", name, spec, **status)


def ready_dataset(name: str = "shelf", digest: str = DIGEST_A) -> dict[str, Any]:
    return dataset(name, phase="Ready", digest=digest, observedGeneration=1)


def split(name: str, images: int = 5) -> dict[str, Any]:
    """A split in a Dataset's status."""
    return {"name": name, "images": images, "boxes": images}


def training(
    name: str = "first", status: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    body = {
        "model": "yolo11n.yaml",
        "dataset": {"name": "shelf"},
        "hyperparameters": {"epochs": 3, "imgsz": 128},
        "output": {"modelLine": "shelf"},
    } | spec
    if "baseVersion" in spec:
        body.pop("model")
    return obj("TrainingJob", name, body, **(status or {}))


def version(number: int = 1, phase: str | None = "Ready", **spec: Any) -> dict[str, Any]:
    body = {
        "modelLine": "shelf",
        "version": number,
        "weights": {"digest": DIGEST_B},
        "dataset": {"name": "shelf", "digest": DIGEST_A},
    } | spec
    status: dict[str, Any] = {"phase": phase} if phase else {}
    if phase == "Ready":
        status["artifacts"] = [artifact(number)]
    return obj("ModelVersion", f"shelf-{number}", body, **status)


def artifact(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "name": "onnx",
        "format": "onnx",
        "digest": f"sha256:{number:064x}",
        "manifestDigest": f"sha256:{number + 1000:064x}",
        "sizeBytes": 10,
    } | changes


def deployment(
    name: str = "cameras", status: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    return obj("Deployment", name, {"modelLine": "shelf"} | spec, **(status or {}))


def made_by(workload: dict[str, Any]) -> dict[str, Any]:
    """Metadata that Kubernetes' controllers give a pod of a Job, Deployment or DaemonSet."""
    own, template = workload["metadata"], workload["spec"]["template"]["metadata"]
    kind, name, uid, marks = workload["kind"], own["name"], own["uid"], dict(template["labels"])
    if kind == "Deployment":
        marks["pod-template-hash"] = "5d764fdc8f"
        kind, name, uid = "ReplicaSet", f"{name}-5d764fdc8f", f"uid-rs-{name}"
    return {
        "namespace": own.get("namespace", "shop"),
        "labels": marks,
        "annotations": dict(template.get("annotations") or {}),
        "ownerReferences": [
            {
                "apiVersion": workload["apiVersion"],
                "kind": kind,
                "name": name,
                "uid": uid,
                "controller": True,
            }
        ],
    }


def meant_for(node: str) -> dict[str, Any]:
    """The spec of a pod of a DaemonSet that its node has no room for."""
    fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    terms = {"nodeSelectorTerms": [{"matchFields": fields}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return {"affinity": {"nodeAffinity": required}}


class World:
    """Objects by kind and name; a View, and a tiny API server for plans."""

    def __init__(self, *objects: dict[str, Any], settings: Settings | None = None) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.settings = settings or Settings()
        self.writes: list[str] = []
        self.answers: dict[str, QueryResult] = {}
        self.absent: set[str] = set()
        self.born: Counter[tuple[str, str]] = Counter()
        self._feed = Feed(self.clock)
        for one in objects:
            self.add(one)

    def add(self, one: dict[str, Any]) -> dict[str, Any]:
        kind = _kind(one)
        one["metadata"].setdefault("uid", f"uid-{kind}-{one['metadata']['name']}")
        self.objects[kind, one["metadata"]["name"]] = one
        return one

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind, name))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [o for (k, _), o in sorted(self.objects.items()) if k == kind]

    def children(self, owner: KubeObject, kind: str) -> Iterable[dict[str, Any]]:
        return [o for o in self.of(kind) if ownership.owns(owner, o)]

    def select(self, kind: str, namespace: str, index: str, value: str) -> Iterable[dict[str, Any]]:
        function = next(c.indexes[kind, index] for c in CONTROLLERS if (kind, index) in c.indexes)
        return [o for o in self.of(kind) if value in function(o)]

    def projections(self, kind: str, namespace: str, index: str, value: str) -> Collection[Any]:
        function = next(c.indexes[kind, index] for c in CONTROLLERS if (kind, index) in c.indexes)
        return [
            values[value] if isinstance(values := function(o), Mapping) else o["metadata"]["name"]
            for o in self.select(kind, namespace, index, value)
        ]

    def feed(self) -> list[ObjectKey]:
        """Let the operator's cache see all that has changed; says what that was."""
        return self._feed.update(self.objects)

    def aggregate(self, name: str) -> Any:
        """As of the last `feed`."""
        return self._feed.aggregates[name]

    def clock(self) -> float:
        """The operator's clock: seconds since the epoch."""
        return NOW.timestamp()

    def answer(self, query: str) -> QueryResult | None:
        return self.answers.get(query)

    def kind_available(self, kind: str) -> bool:
        return kind not in self.absent

    def plan(self, kind: str, name: str, now: datetime = NOW) -> Any:
        """A Create or an Apply: tests know which."""
        return controller(kind).decide(self.observed(kind, name, now), now)

    def observed(self, kind: str, name: str, now: datetime = NOW) -> Any:
        """The snapshot that a decision goes by."""
        self.feed()
        own, one = controller(kind), self.objects[kind, name]
        if own.advance is not None:
            own.advance(self, one, now)
        return own.observe(self, one, self.settings)

    def reconcile(self, kind: str, name: str, now: datetime = NOW) -> Apply:
        """Plan and carry out, as the engine would; records writes."""
        plan: Plan = self.plan(kind, name, now)
        if isinstance(plan, Create):
            for made in plan.children:
                assert (_kind(made), made["metadata"]["name"]) not in self.objects, "name is taken"
                self.add(copy.deepcopy(dict(made)))
                self.writes.append(f"create {_kind(made)}")
            return self.reconcile(kind, name, now)
        for write in self._writes_of(kind, name, plan):
            write()
        return plan

    def crash(self, kind: str, name: str, after: int, now: datetime = NOW) -> Apply:
        """Plan, and be killed once `after` of the plan's writes are made."""
        plan: Plan = self.plan(kind, name, now)
        assert isinstance(plan, Apply)
        for write in self._writes_of(kind, name, plan)[:after]:
            write()
        return plan

    def _writes_of(self, kind: str, name: str, plan: Apply) -> list[Callable[[], None]]:
        """A plan's writes in their order."""
        status: list[Callable[[], None]] = []
        if plan.status is not None:
            status.append(partial(self._write_status, kind, name, plan.status))
        writes: list[Callable[[], None]] = [partial(self._apply, made) for made in plan.apply]
        writes += status if plan.status_first else []
        writes += [partial(self._apply, made) for made in plan.apply_unordered]
        writes += [partial(self._delete, ref) for ref in plan.delete]
        return writes if plan.status_first else writes + status

    def _apply(self, made: KubeObject) -> None:
        key = (_kind(made), made["metadata"]["name"])
        before = self.objects.get(key)
        # What the operator no longer says of a ModelServer goes: it owns the whole spec.
        whole = made["kind"] != "ModelServer" or (before and before["spec"] == made["spec"])
        if before is not None and whole and _covers(before, made):
            return
        merged = copy.deepcopy(dict(made))
        if before:
            merged["metadata"] = {**before["metadata"], **merged["metadata"]}
            changed = merged.get("spec") != before.get("spec")
            merged["metadata"]["generation"] = before["metadata"].get("generation", 1) + changed
            merged["status"] = before.get("status", {})
        else:
            merged["metadata"]["generation"] = 1
            self.born[key] += 1
            merged["metadata"]["uid"] = f"uid-{'-'.join(key)}-{self.born[key]}"
        self.add(merged)
        if _kind(made) == "apps/Deployment":
            self.rolled_out(merged)
        self.writes.append(f"apply {_kind(made)}")

    def rolled_out(self, workload: dict[str, Any]) -> None:
        """The controller of apps Deployments has seen the spec; all pods have its template."""
        count = workload["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "updatedReplicas"), count)
        seen = {"observedGeneration": workload["metadata"]["generation"]}
        workload["status"] = {**workload.get("status", {}), **seen, **counts}

    def _delete(self, ref: Ref) -> None:
        kind = BUILT_IN.get(f"{ref.api_version}/{ref.kind}", ref.kind)
        found = self.objects.get((kind, ref.name))
        if found is not None and ref.uid in (None, found["metadata"]["uid"]):
            del self.objects[kind, ref.name]
            self.writes.append(f"delete {kind}")

    def _write_status(self, kind: str, name: str, status: KubeObject) -> None:
        target = self.objects[kind, name]
        assert status["phase"] in set(kind_info(kind).phases), status["phase"]
        reported = controller(kind).pod_owned_fields
        kept = {k: v for k, v in target.get("status", {}).items() if k in reported}
        if target.get("status") != {**status, **kept}:
            target["status"] = copy.deepcopy({**status, **kept})
            self.writes.append(f"status {kind}")

    def settle(self, kind: str, name: str, now: datetime = NOW) -> dict[str, Any]:
        """Reconcile until nothing is written; returns the object."""
        for _ in range(20):
            before = len(self.writes)
            self.reconcile(kind, name, now)
            if len(self.writes) == before:
                return self.objects[kind, name]
        raise AssertionError(f"does not converge: {self.writes[-6:]}")

    def pod_of(self, job: dict[str, Any], phase: str = "Running", **status: Any) -> dict[str, Any]:
        """A pod of a Job."""
        number = len(self.of("Pod"))
        return self.add(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    **made_by(job),
                    "name": f"{job['metadata']['name']}-{number}",
                    "creationTimestamp": f"2026-11-22T12:00:{number:02}Z",
                },
                "status": {"phase": phase, **status},
            }
        )

    def finish(self, job: dict[str, Any], outcome: Outcome | None) -> None:
        """The Job's pod succeeds with an outcome."""
        for pod in self.of("Pod"):
            if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]:
                pod["status"]["phase"] = "Failed"
        if outcome is not None:
            self.pod_of(job, "Succeeded", containerStatuses=[_ended(outcome, 0)])
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    def fail(self, job: dict[str, Any], outcome: Outcome | None, code: int = 65) -> None:
        """The Job fails with an outcome."""
        if outcome is not None:
            self.pod_of(job, "Failed", containerStatuses=[_ended(outcome, code)])
        job["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": "X"}]}


def _ended(outcome: Outcome, code: int) -> dict[str, Any]:
    message = outcome.termination_message()
    return {"name": "main", "state": {"terminated": {"exitCode": code, "message": message}}}


def _kind(one: KubeObject) -> str:
    kind = str(one["kind"])
    return BUILT_IN.get(f"{one['apiVersion']}/{kind}", kind)


def _covers(live: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            k in live and _covers(live[k], v) for k, v in wanted.items()
        )
    if type(live) is type(wanted) and live == wanted:
        return True  # The common case, at a tenth of the time.
    return json.dumps(live, default=str) == json.dumps(wanted, default=str)


def condition(one: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((c for c in one["status"].get("conditions", ()) if c["type"] == kind), {})
