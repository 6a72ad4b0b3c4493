"""Enough servers answer while nodes are drained or lost."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.contract import labels
from modelyard.core.deployment import disruption

from .spec import EDGE, cluster, existing, wanting

SELECTOR = {labels.OWNER_UID: "uid-cameras", labels.COMPONENT: "server"}


@pytest.mark.parametrize(
    ("target", "budget"),
    [
        pytest.param({"replicas": 2}, 1, id="two servers"),
        pytest.param({"replicas": 9, "disruption": {"maxUnavailable": "30%"}}, "30%", id="share"),
        pytest.param({"autoscaling": {"maxReplicas": 4}}, 1, id="may become several"),
        pytest.param({"replicas": 1}, None, id="one server may be evicted"),
        pytest.param({"replicas": 0}, None, id="suspended"),
        pytest.param({"autoscaling": {"maxReplicas": 1}}, None, id="never several"),
    ],
)
def test_drains_take_a_few_servers_at_a_time(target: dict[str, Any], budget: object) -> None:
    made = disruption.children(cluster(**target))
    if budget is None:
        assert made == ()
        return
    (one,) = made
    assert one["spec"]["maxUnavailable"] == budget
    assert one["spec"]["selector"] == {"matchLabels": SELECTOR}
    assert one["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_edge_has_no_budget_since_its_pods_are_not_evicted() -> None:
    assert disruption.children(wanting(target=EDGE)) == ()


def test_the_budget_goes_with_the_second_server() -> None:
    (made,) = disruption.children(cluster(replicas=2))
    assert disruption.leftovers(cluster(replicas=3), existing(made)) == ()
    (ref,) = disruption.leftovers(cluster(replicas=1), existing(made))
    assert (ref.api_version, ref.kind, ref.name) == ("policy/v1", made["kind"], "cameras")


def test_servers_spread_over_nodes_and_zones_where_they_can() -> None:
    rules = disruption.topology_spread(cluster(replicas=3))["topologySpreadConstraints"]
    assert [r["topologyKey"] for r in rules] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    assert {r["whenUnsatisfiable"] for r in rules} == {"ScheduleAnyway"}
    assert all(r["labelSelector"] == {"matchLabels": SELECTOR} for r in rules)


def test_spread_can_be_demanded_or_left_to_the_scheduler() -> None:
    strict = {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
    (rule,) = disruption.topology_spread(cluster(topologySpread=[strict]))[
        "topologySpreadConstraints"
    ]
    assert strict.items() <= rule.items()
    assert disruption.topology_spread(cluster(topologySpread=[])) == {}
    assert disruption.topology_spread(wanting(target=EDGE)) == {}


def test_a_server_has_time_to_answer_what_it_has_accepted() -> None:
    one = cluster(replicas=2)
    drain = disruption.drain_seconds(one)
    assert disruption.grace_seconds(one) > drain + disruption.EXIT_SECONDS
