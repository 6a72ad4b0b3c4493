"""A fleet comes to the same whatever order the API server tells of its parts in."""

from __future__ import annotations

import itertools
from typing import Any

from modelyard.contract import labels
from modelyard.core.fleet.facts import release_key
from modelyard.core.fleet.fleets import Fleets

OWNER = "uid-fleet"
EDGE = {"edge": {"nodeSelector": {"edge": "true"}, "pools": {"label": "site"}}}


def part(kind: str, name: str, *, target: str = "edge", **fields: Any) -> dict[str, Any]:
    carried = {labels.OWNER_UID: OWNER, labels.COMPONENT: "server", labels.TARGET: target}
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": carried}
    return {"kind": kind, "metadata": metadata, **fields}


def parts(node: str) -> list[tuple[str, dict[str, Any]]]:
    """A node, its pod, and its ModelServer."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    marks = {"edge": "true", "site": node[0]}
    machine = {"metadata": {"name": node, "labels": marks}, "spec": {}, "status": ready}
    pod = part("Pod", f"pod-{node}", spec={"nodeName": node}, status={"phase": "Running", **ready})
    assigned = {"version": 1, "digest": "d"}
    spec = {"podName": f"pod-{node}", "nodeName": node, "pool": node[0], "assigned": assigned}
    server = part("ModelServer", f"server-{node}", spec=spec, status={"loaded": assigned})
    return [("Node", machine), ("Pod", pod), ("ModelServer", server)]


def deployment() -> tuple[str, dict[str, Any]]:
    metadata = {"name": "fleet", "namespace": "shop", "uid": OWNER}
    return "Deployment", {"metadata": metadata, "spec": {"modelLine": "fleet", "target": EDGE}}


def test_the_order_of_news_does_not_matter() -> None:
    found = set()
    for order in itertools.permutations(("Deployment", "Node", "Pod", "ModelServer")):
        fleets = Fleets()
        every = [deployment(), *parts("a-1"), *parts("a-2"), *parts("b-1")]
        for kind, obj in sorted(every, key=lambda one: order.index(one[0])):
            fleets.put(kind, obj)
        fleet = fleets.of(OWNER)
        groups = {group: tuple(places) for group, places in fleet.groups.items()}
        found.add((frozenset(groups.items()), frozenset(fleet.sites.items())))
        # What is known can be taken back.
        for kind, obj in every:
            fleets.drop(kind, obj)
        assert not fleets.of(OWNER).members
        assert not fleets.of(OWNER).groups
    assert len(found) == 1
    groups, sites = next(iter(found))
    assert {(g.pool, g.assigned, g.state, len(p)) for g, p in groups} == {
        ("a", release_key(1, None), "holds", 2),
        ("b", release_key(1, None), "holds", 1),
    }
    assert dict(sites) == {"a": 2, "b": 1}
