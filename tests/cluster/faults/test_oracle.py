"""The oracle sees what it is there to see. Needs no cluster."""

from __future__ import annotations

import copy
import random
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.contract import labels

from . import normal, plans
from .families import KillAfter, KillTwice
from .invariants import violations
from .journal import Entry
from .proxy import Call
from .writes import WriteNames

READY: dict[str, Any] = {"phase": "Ready", "artifacts": [{"name": "onnx", "digest": "d1"}]}


class History:
    """Writes a history, change by change."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def put(self, kind: str, name: str, uid: str = "", **parts: Any) -> History:
        """An object comes or changes; `meta` goes into its metadata."""
        uid = uid or name
        known = any(e.obj["metadata"]["uid"] == uid for e in self.entries)
        metadata = {"name": name, "uid": uid, "generation": 1, **parts.pop("meta", {})}
        obj = {"metadata": metadata, "spec": {}, **copy.deepcopy(parts)}
        self.entries.append(
            Entry(len(self.entries) + 1, "MODIFIED" if known else "ADDED", kind, obj)
        )
        return self

    def version(self, **status: Any) -> History:
        """The ModelVersion lane-1."""
        return self.put("ModelVersion", "lane-1", status=status)

    def deployment(self, **status: Any) -> History:
        """The Deployment lane, one server of which may switch at a time."""
        spec = {"rollout": {"maxUnavailable": 1}}
        return self.put("Deployment", "lane", spec=spec, status=status)

    def server(
        self, name: str, version: int, digest: str = "d1", held: int = 0, shadow: str = ""
    ) -> History:
        """A ModelServer that is told to hold lane-1 in this version number, and another version in
        the shadow."""
        assigned = {"modelVersion": "lane-1", "version": version, "digest": digest}
        status = {"loaded": {"version": held}} if held else {}
        spec: dict[str, Any] = {"deployment": "lane", "assigned": assigned}
        if shadow:
            spec["shadow"] = {"version": {"modelVersion": shadow, "version": 2, "digest": "d1"}}
        return self.put("ModelServer", name, spec=spec, status=status)

    def shadowing(self, stable: str = "lane-1") -> History:
        """lane-1 and lane-2 are Ready; lane-2 is shadowed, on at most one server."""
        self.version(**READY).put("ModelVersion", "lane-2", status=READY)
        held = {"stable": {"modelVersion": stable}, "candidate": {"modelVersion": "lane-2"}}
        rollout = {"maxUnavailable": 1, "shadow": {"servers": 1}}
        status = {**held, "rollout": {"stage": "Shadow", "target": 1}}
        return self.put("Deployment", "lane", spec={"rollout": rollout}, status=status)


def job(name: str, uid: str = "") -> dict[str, Any]:
    meta = {
        "labels": {labels.OWNER_UID: "u", labels.ROLE: "main"},
        "annotations": {labels.OWNER: "Dataset/shelf"},
        "ownerReferences": [{"uid": "u"}],
    }
    return {"kind": "Job", "name": name, "uid": uid, "meta": meta}


BROKEN = {
    "which is None": History().server("s", 1),
    "which is Validating": History().version(phase="Validating").server("s", 1),
    "does not have": History().version(**READY).server("s", 1, digest="d2"),
    "from Ready to Failed": History().version(**READY).version(phase="Failed"),
    "artifacts of ModelVersion lane-1 changed: onnx": History()
    .version(**READY)
    .version(phase="Ready", artifacts=[{"name": "onnx", "digest": "d2"}]),
    "mAP50 of ModelVersion lane-1 changed": History().version(**READY, mAP50=0.5).version(**READY),
    "the spec of ModelVersion": History()
    .put("ModelVersion", "lane-1", spec={"a": 1})
    .put("ModelVersion", "lane-1", spec={"a": 2}),
    "Job a was made a second time": History().put(**job("a", "1")).put(**job("a", "2")),
    "several Jobs work for Dataset/shelf": History().put(**job("a")).put(**job("b")),
    "no reference to its owner": History().put(
        "Job",
        "a",
        meta={"labels": {labels.OWNER_UID: "u"}, "annotations": {labels.OWNER: "Dataset/shelf"}},
    ),
    "never Ready": History()
    .version(phase="Rejected")
    .put("Deployment", "lane", status={"stable": {"modelVersion": "lane-1"}}),
    "2 servers of Deployment lane switch": History()
    .version(**READY)
    .deployment(stable={"modelVersion": "lane-0"}, candidate={"modelVersion": "lane-1"})
    .server("s", 1, held=1)
    .server("t", 1, held=1)
    .server("s", 2, held=1)
    .server("t", 2, held=1),
    "ModelServer s was assigned lane-1 before": History()
    .version(**READY)
    .deployment(stable={"modelVersion": "lane-0"})
    .server("s", 1),
    "were told to switch, the wave has 1": History()
    .version(**READY)
    .deployment(
        candidate={"modelVersion": "lane-1"}, rollout={"stage": "Step", "step": 1, "target": 1}
    )
    .server("s", 1)
    .server("t", 1),
    "shadowing lane-2, which is Validating": History()
    .put("ModelVersion", "lane-2", status={"phase": "Validating"})
    .server("s", 1, shadow="lane-2"),
    "shadowing lane-2 before": History()
    .shadowing()
    .deployment(stable={"modelVersion": "lane-1"})
    .server("s", 1, shadow="lane-2"),
    "shadows beside lane-1, which is not stable": History()
    .shadowing(stable="lane-0")
    .server("s", 1, shadow="lane-2"),
    "2 servers of Deployment lane shadow, 1 may": History()
    .shadowing()
    .server("s", 1, shadow="lane-2")
    .server("t", 1, shadow="lane-2"),
    "ModelServer s still shadows for lane": History()
    .shadowing()
    .server("s", 1, shadow="lane-2")
    .deployment(stable={"modelVersion": "lane-1"})
    .put("Deployment", "lane", meta={"generation": 2}),
    "were told to switch, the wave has 0": History()
    .version(**READY)
    .deployment(
        stable={"modelVersion": "lane-0"},
        candidate={"modelVersion": "lane-1"},
        rollout={"stage": "Shadow", "target": 1},
    )
    .server("s", 1),
    "Deployment lane tries lane-1 again": History()
    .version(**READY)
    .deployment(rejected={"modelVersion": "lane-1"})
    .deployment(candidate={"modelVersion": "lane-1"}),
    "lost count of its rollouts": History().deployment(revision=2).deployment(revision=1),
    "left Failed": History()
    .put("TrainingJob", "till", status={"phase": "Failed", "jobName": "j"})
    .put("TrainingJob", "till", status={"phase": "Running", "jobName": "j"}),
    "does not exist yet": History().put("Dataset", "shelf", status={"observedGeneration": 2}),
    "went back": History()
    .put("Dataset", "shelf", meta={"generation": 2}, status={"observedGeneration": 2})
    .put("Dataset", "shelf", meta={"generation": 2}, status={"observedGeneration": 1}),
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_rule_is_told(text: str) -> None:
    assert any(text in found for found in violations(BROKEN[text].entries))


def test_a_lawful_life_breaks_no_rule() -> None:
    history = History().put(**job("a")).version(phase="Exporting").version(**READY)
    history.deployment(stable={"modelVersion": "lane-1"})
    history.server("s", 1).server("s", 1, held=1).version(**READY, usedBy=["Deployment lane"])
    assert violations(history.entries) == []


def test_a_lawful_shadow_breaks_no_rule() -> None:
    history = History().shadowing().server("s", 1).server("t", 1)
    history.server("s", 1, held=1, shadow="lane-2").server("s", 1, held=1)
    history.deployment(stable={"modelVersion": "lane-1"})
    history.put("Deployment", "lane", meta={"generation": 2})
    assert violations(history.entries) == []


def test_a_rollback_is_as_quick_as_it_can() -> None:
    history = History().version(**READY).deployment(stable={"modelVersion": "lane-1"})
    for name in ("s", "t"):
        history.server(name, 2, held=2)
    for name in ("s", "t"):
        history.server(name, 1, held=2)
    assert violations(history.entries) == []


def test_states_are_compared_without_what_differs_from_run_to_run() -> None:
    def state(uid: str, mark: str, replicas: int) -> list[str]:
        meta = {"creationTimestamp": f"2026-01-0{mark[0]}T00:00:00Z"}
        history = History().put("Job", f"shelf-data-{mark}", uid, meta=meta)
        history.put("Dataset", "shelf", f"{uid}-d", status={"jobName": f"shelf-data-{mark}"})
        live: dict[str, list[Any]] = {kind: [] for kind in normal.EXAMINED}
        for entry in history.entries:
            live[entry.kind].append(entry.obj | {"spec": {"replicas": replicas}})
        return normal.state(history.entries, live, "space")

    one, same, other = (
        state("uid-1", "1a2b3c4d", 1),
        state("uid-2", "2b3c4d5e", 1),
        state("uid-3", "1a2b3c4d", 2),
    )
    assert normal.differences(one, same) == ""
    assert "Job shelf-data.spec.replicas: wanted 1, found 2" in normal.differences(one, other)


def test_every_plan_has_a_name_of_its_own_and_kills_are_at_every_write() -> None:
    every = plans.every()
    assert every == plans.every()
    names = [str(plan) for plan in every]
    assert len(set(names)) == len({plan.key for plan in every}) == len(every)
    for workload, writes in plans.recorded().items():
        for family in ("kill-after", "kill-before"):
            there = [p.write for p in every if (p.workload, p.family) == (workload, family)]
            assert there == list(writes)
    assert set(plans.subset()) <= set(every)


def test_the_subset_has_each_family_and_workload_and_only_what_every_run_reaches() -> None:
    subset, every = plans.subset(), plans.every()
    assert {plan.family for plan in subset} == {plan.family for plan in every}
    assert {plan.workload for plan in subset} == set(plans.recorded())
    assert all(plan.write.certain for plan in subset)


def test_plans_are_chosen_by_name_or_by_a_part_of_it() -> None:
    one, *_ = plans.every()
    assert plans.matching([str(one)]) == [one]
    of_family = plans.matching([f"{one.workload}/{one.family}/"])
    assert one in of_family
    assert {(p.workload, p.family) for p in of_family} == {(one.workload, one.family)}
    assert plans.matching(["no such plan"]) == []


def _named(*statuses: dict[str, Any]) -> list[str]:
    names = WriteNames()
    return [names.status("status Deployment lane", status) for status in statuses]


def test_a_status_write_is_named_by_the_state_that_it_leaves() -> None:
    step = {"phase": "Progressing", "rollout": {"stage": "Step", "step": 1}}
    assert _named(
        step, {"replicas": 1}, {"phase": "Paused"}, {"phase": "Healthy", "rollout": None}
    ) == [
        "status Deployment lane Progressing Step 1 #1",
        "status Deployment lane Progressing Step 1 #1.1",
        "status Deployment lane Paused Step 1 #1",
        "status Deployment lane Healthy #1",
    ]


def test_status_writes_that_coalesce_move_no_name_after_them() -> None:
    idle = _named({"phase": "Progressing"}, {"replicas": 1}, {"replicas": 2}, {"phase": "Healthy"})
    busy = _named({"phase": "Progressing"}, {"replicas": 2}, {"phase": "Healthy"})
    assert busy == [idle[0], idle[1], idle[3]]


def test_a_write_is_named_by_how_often_that_object_was_written() -> None:
    names = WriteNames()
    made = [names.write(f"apply ModelServer {name}") for name in ("a", "b", "a")]
    assert made == ["apply ModelServer a #1", "apply ModelServer b #1", "apply ModelServer a #2"]


def _asked(number: int, name: str) -> Any:
    """A request of the operator that makes this write."""
    return SimpleNamespace(call=Call(number, name, "apply", "Service", name.partition(" #")[0]))


def test_a_fault_strikes_once_at_its_write_wherever_that_comes() -> None:
    world: Any = SimpleNamespace(proxy=SimpleNamespace(calls=[]))
    fault = KillAfter(world, "apply Service lane #2", random.Random(0))
    names = ["apply Service lane #1", "status Deployment lane Healthy #1", "apply Service lane #2"]
    struck = [fault.here(_asked(at, name)) for at, name in enumerate(names, start=1)]
    assert struck == [False, False, True]
    assert fault.fired
    assert fault.position == 3
    assert not fault.here(_asked(4, names[2]))


def test_each_successor_of_an_operator_that_is_killed_twice_is_killed_until_the_end() -> None:
    made: list[Any] = [None]
    world: Any = SimpleNamespace(proxy=SimpleNamespace(calls=made))
    fault = KillTwice(world, "apply Service lane #1", random.Random(0))
    assert fault.here(_asked(1, "apply Service lane #1"))
    for _ in range(2):
        fault.started()
        assert not fault.fired
        places = range(len(made) + 1, len(made) + 4)
        struck = [at for at in places if fault.here(_asked(at, f"create Job {at} #1"))]
        assert len(struck) == 1
        made += [None] * struck[0]
    fault.started()
    fault.end()
    assert fault.fired
    assert not any(fault.here(_asked(at, "any #1")) for at in range(len(made), len(made) + 9))


def test_a_kill_that_was_never_reached_is_not_taken_for_reached_at_the_end() -> None:
    world: Any = SimpleNamespace(proxy=SimpleNamespace(calls=[]))
    fault = KillTwice(world, "apply Service lane #1", random.Random(0))
    fault.end()
    assert not fault.fired


def test_a_record_of_several_runs_says_what_every_run_makes() -> None:
    found = plans.merged([["a", "b", "d"], ["a", "c", "d"]])
    assert [(write.name, write.always) for write in found] == [
        ("a", True), ("c", False), ("b", False), ("d", True),
    ]  # fmt: skip
