"""A fleet comes to the same whatever order the API server tells of its parts in."""

from __future__ import annotations

import copy
import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.contract import labels
from modelyard.core.fleet import grouping
from modelyard.core.fleet.fleets import Fleets
from modelyard.core.fleet.member import FleetConfig, Group, Member
from modelyard.core.fleet.projections import key_of, read_server

OWNER = "uid-fleet"
SHELF = key_of({"modelVersion": "shelf-1", "digest": "d"})
EDGE = {"edge": {"nodeSelector": {"edge": "true"}, "pools": {"label": "site"}}}


def part(kind: str, name: str, *, target: str = "edge", **fields: Any) -> dict[str, Any]:
    carried = {labels.OWNER_UID: OWNER, labels.COMPONENT: "server", labels.TARGET: target}
    maker: dict[str, Any] = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "Deployment"}
    maker |= {"name": "fleet", "uid": OWNER}
    if kind == "Pod":
        maker = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "fleet", "uid": "uid-ds"}
    if kind == "Pod" and target == "cluster":
        carried["pod-template-hash"] = "abc"
        maker |= {"kind": "ReplicaSet", "name": "fleet-abc"}
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "labels": carried,
        "annotations": {labels.OWNER: "Deployment/fleet"},
        "ownerReferences": [maker | {"controller": True}],
    }
    return {"kind": kind, "metadata": metadata, **fields}


def parts(node: str) -> list[tuple[str, dict[str, Any]]]:
    """A node, its pod, and its ModelServer."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    marks = {"edge": "true", "site": node[0]}
    machine = {"metadata": {"name": node, "labels": marks}, "spec": {}, "status": ready}
    pod = part("Pod", f"pod-{node}", spec={"nodeName": node}, status={"phase": "Running", **ready})
    assigned = {"modelVersion": "shelf-1", "version": 1, "digest": "d"}
    spec = {"podName": f"pod-{node}", "nodeName": node, "pool": node[0], "assigned": assigned}
    server = part("ModelServer", f"server-{node}", spec=spec, status={"loaded": assigned})
    return [("Node", machine), ("Pod", pod), ("ModelServer", server)]


def deployment() -> tuple[str, dict[str, Any]]:
    metadata = {"name": "fleet", "namespace": "shop", "uid": OWNER}
    return "Deployment", {"metadata": metadata, "spec": {"modelLine": "fleet", "target": EDGE}}


def test_the_order_of_news_does_not_matter() -> None:
    found: set[Any] = set()
    for order in itertools.permutations(("Deployment", "Node", "Pod", "ModelServer")):
        fleets = Fleets(lambda: 0.0)
        every = [deployment(), *parts("a-1"), *parts("a-2"), *parts("b-1")]
        for kind, obj in sorted(every, key=lambda one: order.index(one[0])):
            fleets.put(kind, obj)
        fleet = fleets.of(deployment()[1])
        groups = {group: tuple(places) for group, places in fleet.groups.items()}
        found.add((frozenset(groups.items()), frozenset(fleet.sites.items())))
        # What is known can be taken back.
        for kind, obj in every:
            fleets.drop(kind, obj)
        assert not fleets.of(deployment()[1]).members
        assert not fleets.of(deployment()[1]).groups
    assert len(found) == 1
    groups, sites = next(iter(found))
    assert {(g.pool, g.assigned, g.state, len(p)) for g, p in groups} == {
        ("a", SHELF, "holds", 2),
        ("b", SHELF, "holds", 1),
    }
    assert dict(sites) == {"a": 2, "b": 1}


class _Told:
    """What the API server told last of each object, by (kind, name)."""

    def __init__(self) -> None:
        self.fleets = Fleets(lambda: 0.0)
        self.live: dict[tuple[str, str], dict[str, Any]] = {}

    def put(self, kind: str, obj: dict[str, Any]) -> set[Any]:
        self.live[kind, obj["metadata"]["name"]] = obj
        return set(self.fleets.put(kind, copy.deepcopy(obj)))

    def drop(self, kind: str, name: str) -> None:
        obj = self.live.pop((kind, name), None)
        if obj is not None:
            self.fleets.drop(kind, obj)


def _comes_to(fleets: Fleets) -> dict[str, Any]:
    """All that decisions read of a fleet."""
    fleet = fleets.of(deployment()[1])
    return {
        "groups": dict(fleet.groups),
        "members": {name: (m.pod, m.server, m.node, m.site) for name, m in fleet.members.items()},
        "sites": dict(fleet.sites),
        "on": dict(fleet.on),
        "stale": fleet.stale,
        "orphans": fleet.orphans,
        "troubled": fleet.troubled,
        "totals": {key: one.values for key, one in fleet._totals.items()},
        "shadows": {key: one.values for key, one in fleet._shadows.items()},
    }


NODES = ("a-1", "a-2", "b-1")
node_names = st.sampled_from(NODES)
releases = st.integers(1, 3)


def _assigned(number: int) -> dict[str, Any]:
    return {"modelVersion": f"shelf-{number}", "version": number, "digest": f"d{number}"}


@st.composite
def news(draw: st.DrawFn) -> tuple[str, str, dict[str, Any] | None]:
    """A change of one object: its kind, its name, and what it is now; None if it is gone."""
    kind = draw(st.sampled_from(["Node", "Pod", "ModelServer", "Deployment"]))
    node = draw(node_names)
    found = dict((*parts(node), deployment()))[kind]
    name = found["metadata"]["name"]
    if draw(st.integers(0, 3)) == 0:
        return kind, name, None
    if kind == "Node":
        up = draw(st.booleans())
        found["status"] = {"conditions": [{"type": "Ready", "status": str(up)}]}
        found["metadata"]["labels"] = {
            "edge": draw(st.sampled_from(["true", "true", "false"])),
            "site": draw(st.sampled_from("ab")),
            "nvidia.com/gpu.product": draw(st.sampled_from(["T4", ""])),
        }
    elif kind == "Pod":
        found["status"] = {
            "phase": draw(st.sampled_from(["Running", "Running", "Failed"])),
            "conditions": [{"type": "Ready", "status": str(draw(st.booleans()))}],
        }
        found["metadata"]["labels"][labels.TEMPLATE] = draw(st.sampled_from("xy"))
        if draw(st.integers(0, 4)) == 0:
            found["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    elif kind == "ModelServer":
        spec, loaded = found["spec"], draw(releases)
        spec["assigned"] = _assigned(draw(releases))
        spec["pool"] = draw(st.sampled_from("ab"))
        if draw(st.booleans()):
            spec["shadow"] = {"version": _assigned(draw(releases)), "share": 0.1}
        found["status"] = {
            "loaded": _assigned(loaded),
            "figures": {"version": loaded, "seconds": 60, "requests": draw(st.integers(0, 9))},
            "shadow": {**_assigned(draw(releases)), "images": draw(st.integers(0, 9))},
            **draw(st.sampled_from([{}, {"phase": "Failed", "observedGeneration": 0}])),
        }
    else:
        edge = draw(st.sampled_from([EDGE, {"edge": {"nodeSelector": {"edge": "true"}}}]))
        found["spec"] = {"modelLine": "fleet", "target": edge}
    return kind, name, found


@given(st.lists(news(), max_size=30), st.randoms(use_true_random=False))
def test_what_is_kept_is_what_would_be_counted(changes: list[Any], order: random.Random) -> None:
    told = _Told()
    for kind, name, obj in changes:
        if obj is None:
            told.drop(kind, name)
            continue
        told.put(kind, obj)
        assert not told.put(kind, obj), "nothing has changed"
    if ("Deployment", "fleet") not in told.live:
        told.put(*deployment())  # Without it nobody decides anything.
    anew = Fleets(lambda: 0.0)
    live = list(told.live.items())
    order.shuffle(live)
    for (kind, _), obj in live:
        anew.put(kind, obj)
    assert _comes_to(told.fleets) == _comes_to(anew)


def test_what_servers_report_of_themselves_wakes_nobody() -> None:
    told = _Told()
    for kind, obj in (deployment(), *parts("a-1")):
        told.put(kind, obj)
    server = told.live["ModelServer", "server-a-1"]
    for requests in range(3):
        server["status"]["reportedAt"] = f"2026-11-22T12:00:0{requests}Z"
        server["status"]["figures"] = {"version": 1, "seconds": 60, "requests": requests}
        assert told.put("ModelServer", server) == set()
    total = told.fleets.of(deployment()[1]).total(SHELF)
    assert total is not None
    assert (total.values[0], total.servers) == (2, 1)
    server["status"]["loaded"] = {"modelVersion": "shelf-2", "version": 2, "digest": "x"}
    assert {key.name for key in told.put("ModelServer", server)} == {"fleet"}


@pytest.mark.no_cover  # Thousands of servers: traced it takes four times as long.
def test_one_change_among_thousands_is_a_look_at_one_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = _Told()
    told.put(*deployment())
    for number in range(5000):
        for kind, obj in parts(f"a-{number}"):
            told.fleets.put(kind, obj)
    looks: list[str] = []
    group_of = grouping.group_of

    def looked(config: FleetConfig, member: Member) -> Group | None:
        looks.append(member.name)
        return group_of(config, member)

    monkeypatch.setattr("modelyard.core.fleet.fleet.group_of", looked)
    (_, node), (_, pod), (_, server) = parts("a-77")
    server["spec"]["assigned"] = _assigned(2)
    pod["status"]["conditions"][0]["status"] = "False"
    node["metadata"]["labels"]["site"] = "z"
    for kind, obj in (("ModelServer", server), ("Pod", pod), ("Node", node)):
        told.fleets.put(kind, obj)
    assert set(looks) == {"a-77"}
    assert len(looks) == 3


@pytest.mark.parametrize("text", ["2026-02-31T00:00:00Z", "2026-06-30T23:59:60Z", "x", "+"])
def test_a_time_that_is_none_harms_no_other_server(text: str) -> None:
    server = {
        "metadata": {"name": "a", "uid": "u", "creationTimestamp": "2026-11-28T12:00:00Z"},
        "spec": {"assigned": {"modelVersion": "shelf-1", "version": 1}},
        "status": {"reportedAt": text},
    }
    fact = read_server(server)
    assert fact is not None
    assert fact.written == 0.0
