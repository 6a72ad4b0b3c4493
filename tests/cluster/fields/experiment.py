"""All values of all leaves tried at once: fresh objects, changed ones, and wrong ones put right.

For each accepted value there is an object that was made with it (`fresh`) and one that was made
without it and then changed (`changed`). For each wrong one there is also one that is put right
again (`changed`, back to its base), to be compared with one that never was wrong (`reference`).
A TrainingJob may change until it starts, so those here wait for a Dataset that comes last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

from ...kinds import CHANGEABLE, PLURALS, RECONCILED
from ...waiting import eventually
from ..fake_status import node
from . import cases
from .apiserver import DRY, GROUP, STRICT, Object, Server, View, path_of
from .cases import SPACE, Asked, Trial
from .players import Players
from .state import condition, differences, reasons, state
from .values import CROWDED, DIGEST, EDGE, LATER, NAMES, SITES, SPECS
from .walking import Leaf

CRDS = Path(__file__).parents[3] / "crds"
DRY_SPACE = "default"
"""Namespace of what is only asked: no name is taken there."""
QUIET_SECONDS = 1.0
GRACE = 10.0
"""Seconds of quiet after which two states that differ are taken for final: a starved operator may
rest for a second."""
STUCK = 90.0
"""Seconds of quiet after which what has not been looked at is not waited for any longer."""
ROLLS = {"RollingOut", "WaitingForServers"}
WAITS_FOR_DATASET = {"DatasetNotFound", "DatasetNotReady"}
EDITED = {"epochs": 7}
"""Hyperparameters that come too late for a started training."""


@dataclass
class Arm:
    """One object of the experiment."""

    kind: str
    space: str
    name: str
    spec: Object
    refused: str = ""
    """Why the API server did not take it."""
    stored: Object = field(default_factory=dict)
    """Its spec as the API server answered."""
    generation: int = 0
    """Its generation then: what is seen of it earlier is out of date."""
    seen: Object = field(default_factory=dict)
    """The object at the end."""
    state: Object = field(default_factory=dict)
    """Its normalised state at the end."""


@dataclass
class Tried:
    """What became of one accepted value."""

    trial: Trial
    fresh: Arm
    changed: Arm | None = None
    reference: Arm | None = None
    told: list[Object] = field(default_factory=list)
    """Objects with a wrong value, made so and changed so, before they were put right."""
    frozen: tuple[int, Object] | None = None
    """The answer to setting the value when the object no longer takes changes."""

    @property
    def unlike(self) -> list[str]:
        """How the changed object's state differs from that of the one it must be like."""
        like = self.fresh if self.trial.reason is None else self.reference
        if self.changed is None or like is None or like.refused or self.changed.refused:
            return []
        return differences(like.state, self.changed.state)


@dataclass
class Record:
    """Everything that the tests look at."""

    tried: dict[Leaf, list[Tried]] = field(default_factory=dict)
    asked: list[tuple[Asked, int, Object]] = field(default_factory=list)
    strangers: list[tuple[str, str, int, Object]] = field(default_factory=list)
    late_edit: Object = field(default_factory=dict)
    """A started TrainingJob whose hyperparameters were edited."""
    seconds: dict[str, float] = field(default_factory=dict)


class Experiment:
    """Runs it once, against an API server, controllers and an operator."""

    def __init__(self, server: Server, start_operator: Callable[[], None]) -> None:
        self._server = server
        self._start_operator = start_operator
        self._players = Players(server)
        self._view = View(server, self._players.see)
        self._references: dict[bytes, Arm] = {}
        self._arms: list[Arm] = []
        self._clock = time.monotonic()
        self._later_is_ready = False
        self._watches: list[asyncio.Task[None]] = []
        self.record = Record()

    async def run(self) -> Record:
        """The whole experiment. Raises AssertionError if it cannot be carried out."""
        self._plan()
        await self._prepare()
        self._lap("prepared")
        async with AsyncExitStack() as stack:
            for kind in self._view.objects:
                task = asyncio.create_task(self._view.follow(kind), name=f"watch of {kind}")
                stack.callback(task.cancel)
                self._watches.append(task)
            self._start_operator()
            await _all(self._create(arm) for arm in self._arms)
            self._lap("created")
            await _all([*self._ask(), *self._ask_strangers()])
            self._lap("asked")
            await self._settle("fresh objects")
            self._lap("settled")
            await self._change()
            await self._settle("changed objects")
            self._lap("changed")
            self._note_told()
            await self._recover()
            await self._resolve_dataset()
            await self._settle("the end")
            await self._look()
            self._lap("recovered")
            await _all(self._freeze(one) for one in self._all_tried())
            await self._edit_late()
            self._lap("frozen")
        return self.record

    # Planning.

    def _plan(self) -> None:
        number = 0
        for leaf in cases.all_leaves():
            for trial in cases.trials(leaf):
                number += 1
                self.record.tried.setdefault(leaf, []).append(self._tried(trial, number))

    def _tried(self, trial: Trial, number: int) -> Tried:
        kind = trial.leaf.kind
        one = Tried(trial, self._arm(kind, trial.space, trial.spec, number, "fresh"))
        one.reference = self._reference(trial)
        if kind in CHANGEABLE and not trial.leaf.immutable:
            one.changed = self._arm(kind, trial.space, trial.base, number, "change")
        return one

    def _reference(self, trial: Trial) -> Arm:
        """The one object of a leaf's base, which several leaves share."""
        key = orjson.dumps([trial.leaf.kind, trial.space, trial.base], option=orjson.OPT_SORT_KEYS)
        if key not in self._references:
            number = len(self._references)
            made = self._arm(trial.leaf.kind, trial.space, trial.base, number, "base")
            self._references[key] = made
        return self._references[key]

    def _arm(self, kind: str, space: str, spec: Object, number: int, role: str) -> Arm:
        name, own = cases.name_for(kind, spec, number, role)
        arm = Arm(kind, space, name, own)
        self._arms.append(arm)
        return arm

    def _all_tried(self) -> list[Tried]:
        return [one for many in self.record.tried.values() for one in many]

    # Preparing.

    async def _prepare(self) -> None:
        server = self._server
        for path in sorted(CRDS.glob("*.yaml")):
            crd = yaml.safe_load(path.read_text())
            await server.must(
                "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd
            )
        for plural in PLURALS.values():
            await eventually(
                lambda p=plural: self._served(p), 30, lambda p=plural: f"{p} to be served"
            )
        for space in (SPACE, CROWDED):
            await server.must("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
            for account in ("modelyard-trainer", "modelyard-agent"):
                path = f"/api/v1/namespaces/{space}/serviceaccounts"
                await server.must("POST", path, {"metadata": {"name": account}})
        quota = {"metadata": {"name": "no-pods"}, "spec": {"hard": {"pods": "0"}}}
        await server.must("POST", f"/api/v1/namespaces/{CROWDED}/resourcequotas", quota)
        for name in (*NAMES.valid, *NAMES.boundary):
            # Admission refuses pods whose classes do not exist.
            classes = {"metadata": {"name": name}, "value": 5}
            await server.must("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", classes)
            classes = {"metadata": {"name": name}, "handler": "runc"}
            await server.must("POST", "/apis/node.k8s.io/v1/runtimeclasses", classes)
        for site in SITES:
            await self._node(f"{SPACE}-{site}", {f"{EDGE}/edge": "true", f"{EDGE}/site": site})
        await _all(self._ready_version(*where) for where in sorted(self._versions()))

    async def _served(self, plural: str) -> bool:
        status, _ = await self._server.ask("GET", f"{GROUP}/{plural}")
        return status == 200

    async def _node(self, name: str, marks: dict[str, str]) -> None:
        await self._server.must("POST", "/api/v1/nodes", node(name, marks))
        await self._server.merge(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})

    def _versions(self) -> set[tuple[str, str, int]]:
        """(namespace, line, number) of the versions that Deployments need."""
        wanted = {(SPACE, SPECS["Deployment"]["modelLine"], 1)}
        for arm in self._arms:
            if arm.kind == "Deployment":
                number = (arm.spec.get("version") or {}).get("number") or 1
                wanted.add((arm.space, arm.spec["modelLine"], number))
        for one in self._all_tried():
            if one.trial.reason is not None and one.trial.leaf.path == "version.number":
                wanted.discard((SPACE, one.trial.spec["modelLine"], one.trial.value))
        return wanted

    async def _ready_version(self, space: str, line: str, number: int) -> None:
        name = f"{line}-{number}"
        spec = {**SPECS["ModelVersion"], "modelLine": line, "version": number}
        artifact = {"name": "onnx", "format": "onnx", "digest": DIGEST, "manifestDigest": DIGEST}
        status = {
            "phase": "Ready",
            "observedGeneration": 1,
            "artifacts": [{**artifact, "sizeBytes": 1}],
        }
        await self._server.must("POST", path_of("ModelVersion", space), _body(name, spec))
        await self._server.merge(path_of("ModelVersion", space, name, "status"), {"status": status})

    # Acting.

    async def _create(self, arm: Arm) -> None:
        path = path_of(arm.kind, arm.space)
        status, answer = await self._server.ask(
            "POST", path, _body(arm.name, arm.spec, arm.kind), query=STRICT
        )
        if status >= 400:
            arm.refused = answer["message"]
        else:
            arm.stored, arm.generation = answer["spec"], answer["metadata"]["generation"]

    def _ask(self) -> Iterable[Any]:
        async def one(asked: Asked) -> None:
            kind = asked.leaf.kind
            body = _body(_name(kind, asked.spec), asked.spec, kind)
            status, answer = await self._server.ask(
                "POST", path_of(kind, DRY_SPACE), body, query=DRY
            )
            self.record.asked.append((asked, status, answer))

        return [one(asked) for leaf in cases.all_leaves() for asked in cases.asked(leaf)]

    def _ask_strangers(self) -> Iterable[Any]:
        async def one(kind: str, field_: str, spec: Object) -> None:
            body = _body(_name(kind, spec), spec, kind)
            status, answer = await self._server.ask(
                "POST", path_of(kind, DRY_SPACE), body, query=DRY
            )
            self.record.strangers.append((kind, field_, status, answer))

        return [one(*stranger) for stranger in cases.strangers()]

    async def _change(self) -> None:
        await _all(
            self._set(one.changed, one.trial.spec)
            for one in self._all_tried()
            if one.changed is not None and not one.changed.refused
        )

    async def _set(self, arm: Arm, spec: Object) -> None:
        arm.spec = spec
        try:
            answer = await self._server.set_spec(arm.kind, arm.space, arm.name, spec)
        except AssertionError as error:
            arm.refused = str(error)
        else:
            arm.stored, arm.generation = answer["spec"], answer["metadata"]["generation"]

    def _note_told(self) -> None:
        for one in self._all_tried():
            if one.trial.reason is not None:
                one.told = [self._now(a) for a in (one.fresh, one.changed) if a is not None]

    async def _recover(self) -> None:
        await _all(
            self._set(one.changed, one.trial.base)
            for one in self._all_tried()
            if one.trial.reason is not None and one.changed is not None
        )

    async def _resolve_dataset(self) -> None:
        """The Dataset that all trainings wait for comes, and is found valid."""
        path = path_of("Dataset", SPACE)
        made = await self._server.must("POST", path, _body(LATER, SPECS["Dataset"], "Dataset"))
        pods = await eventually(
            lambda: self._view.of_owner("Pod", made["metadata"]["uid"]),
            30,
            lambda: f"the pod of {LATER}",
        )
        await self._players.resolve(pods[0], DIGEST)
        self._later_is_ready = True

    async def _freeze(self, one: Tried) -> None:
        """Ask for the value where it comes too late."""
        arm = one.reference
        assert arm is not None
        fixed = arm.kind in ("TrainingJob", "ModelVersion") or one.trial.leaf.immutable
        if not fixed or one.trial.reason is not None:
            return
        _, spec = cases.name_for(arm.kind, one.trial.spec, 0, "frozen")
        patch = [{"op": "replace", "path": "/spec", "value": spec}]
        path = path_of(arm.kind, arm.space, arm.name)
        one.frozen = await self._server.ask(
            "PATCH", path, patch, query=DRY, content="application/json-patch+json"
        )

    async def _edit_late(self) -> None:
        arm = next(a for a in self._references.values() if a.spec == SPECS["TrainingJob"])
        # Until its pod has started, an edit is carried out.
        pod = self._view.of_owner("Pod", self._now(arm)["metadata"]["uid"])[0]["metadata"]
        path = f"/api/v1/namespaces/{pod['namespace']}/pods/{pod['name']}/status"
        await self._server.merge(path, {"status": {"phase": "Running"}})
        await self._settle("the started training")
        await self._set(arm, {**arm.spec, "hyperparameters": EDITED})
        await self._settle("the edited training")
        self.record.late_edit = self._now(arm)

    # Looking.

    def _now(self, arm: Arm) -> Object:
        return self._view.named(arm.kind, arm.space, arm.name) or {}

    async def _look(self) -> None:
        """Take down the final states; while some differ, there is grace."""
        while True:
            for arm in self._arms:
                arm.seen = self._now(arm)
                if arm.seen:
                    arm.state = state(self._view, arm.kind, arm.seen)
            unlike = any(one.unlike for one in self._all_tried())
            quiet = time.monotonic() - self._view.changed
            if not unlike or quiet > GRACE:
                return
            await asyncio.sleep(1)

    async def _settle(self, what: str) -> None:
        """Until every object was looked at as it is now, and nothing changes any more."""
        begun = time.monotonic()
        while True:
            for watch in self._watches:
                assert not watch.done(), f"{watch.get_name()}: {watch.exception()}"
            left = self._unobserved()
            quiet = time.monotonic() - self._view.changed
            if not left and quiet >= QUIET_SECONDS:
                return
            # However long it takes on a busy machine, as long as something goes on.
            assert min(quiet, time.monotonic() - begun) < STUCK, (
                f"not settled ({what}), last change {quiet:.1f} s ago; "
                f"unfinished: {left[:5]}; {self._players.failures[:3]}"
            )
            await asyncio.sleep(0.2)

    def _unobserved(self) -> list[str]:
        left = []
        for arm in self._arms:
            if arm.kind not in RECONCILED or arm.refused:
                continue
            obj = self._now(arm)
            seen = (obj.get("status") or {}).get("observedGeneration")
            stalled = condition(obj, "Stalled") or {}
            # A failure of the engine is told without looking further.
            current = (seen, stalled.get("observedGeneration"))
            generation = obj["metadata"]["generation"] if obj else 0
            if generation < max(arm.generation, 1) or generation not in current:
                left.append(f"{arm.kind} {arm.name} not observed")
            elif self._on_its_way(obj):
                left.append(f"{arm.kind} {arm.name}: {obj['status']['message']}")
        return left

    def _on_its_way(self, obj: Object) -> bool:
        """Whether it is known that more will come."""
        if obj["kind"] == "Deployment" and obj["metadata"]["namespace"] == SPACE:
            return bool(reasons(obj) & ROLLS)
        if obj["kind"] == "TrainingJob" and obj["spec"]["dataset"]["name"] == LATER:
            return self._later_is_ready and bool(reasons(obj) & WAITS_FOR_DATASET)
        return False

    def _lap(self, what: str) -> None:
        now = time.monotonic()
        self.record.seconds[what] = round(now - self._clock, 1)
        self._clock = now


def told(obj: Object, reason: str) -> bool:
    """Whether an object's conditions give a reason."""
    return reason in reasons(obj)


def _body(name: str, spec: Object, kind: str = "ModelVersion") -> Object:
    return {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _name(kind: str, spec: Object) -> str:
    """A fitting name, also where the spec has no line or version, or senseless ones."""
    if kind != "ModelVersion":
        return "refused"
    return f"{spec.get('modelLine', 'made')}-{spec.get('version', 1)}"


async def _all(work: Iterable[Any]) -> None:
    await asyncio.gather(*work)
