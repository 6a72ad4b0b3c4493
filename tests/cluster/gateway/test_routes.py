"""A real Gateway does with our routes what a rollout means by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.core.deployment import gateway
from modelyard.core.deployment.traffic import Split, mark

from ..observing import observing
from ..waiting import until
from .conftest import Plane
from .stage import NEW, OLD, OURS, PATHS, Load, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

HEADER = {"name": "x-model", "value": "candidate"}


def test_weights_are_exact_though_servers_are_few(stage: Callable[..., Stage]) -> None:
    one = stage("weights", 4)
    assert one.counted(50) == (Counter({"1": 50}), Counter({"1": 50}))
    one.rollout = {"stable": OLD, "candidate": NEW, "cap": 10}
    one.move(0, NEW)
    one.settles(new=10)
    least, most = one.site.range(10, 200)
    http, rpc = one.counted(200)
    assert least <= http["2"] <= most, http
    assert least <= rpc["2"] <= most, rpc
    one.is_taken()


def test_a_header_leads_to_the_candidate_and_nothing_else_does(
    stage: Callable[..., Stage],
) -> None:
    one = stage("headers", 3, header=HEADER, weighted=False)
    wish = {HEADER["name"]: HEADER["value"]}
    assert (one.ask(**wish), one.ask_grpc(**wish)) == ("1", "1"), "no candidate: stable answers"
    one.rollout = {"stable": OLD, "candidate": NEW, "cap": 30}
    one.move(0, NEW)
    until(lambda: (one.ask(**wish), one.ask_grpc(**wish)) == ("2", "2"), 30)
    assert {one.ask(**wish) for _ in range(30)} == {"2"}
    assert {one.ask_grpc(**wish) for _ in range(30)} == {"2"}
    assert one.counted(50) == (Counter({"1": 50}), Counter({"1": 50}))
    assert {one.ask(**{HEADER["name"]: "stable"}) for _ in range(10)} == {"1"}
    one.is_taken()


def test_no_request_is_lost_from_the_first_step_to_the_last_and_back(
    stage: Callable[..., Stage],
) -> None:
    one = stage("whole", 4, header=HEADER)
    with Load(one) as load:
        one.rollout = {"stable": OLD, "candidate": NEW, "cap": 25}
        one.move(0, NEW)
        one.settles(new=25, others=15)
        one.rollout |= {"cap": 50}
        one.move(1, NEW)
        one.settles(new=50, others=15)
        one.rollout = {"stable": OLD, "candidate": None}  # Rolled back.
        one.reconcile()
        one.settles(new=0)
        one.move(0, OLD)
        one.move(1, OLD)
        one.rollout = {"stable": OLD, "candidate": NEW, "last": True}
        for number in range(4):
            one.move(number, NEW)
        one.rollout = {"stable": NEW, "candidate": None}
        one.reconcile()
        one.settles(new=100)
    load.judge()


def test_routes_with_all_there_is_are_taken_by_the_api_server(plane: Plane) -> None:
    wanted = {
        "parentRefs": [
            {"name": "public", "namespace": "gateways", "sectionName": "web"},
            {"name": "public", "namespace": "gateways", "sectionName": "tls"},
        ],
        "hostnames": ["*.shelf.example", "a" * 60 + ".example"],
        "grpcHostnames": ["grpc.shelf.example"],
        "candidate": {"header": HEADER, "mirror": 5},
    }
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "full"},
        "spec": {"modelLine": "shelf", "target": {"cluster": {"gateway": wanted}}},
    }
    view = observing(plane.admin.call("POST", OURS, body))
    now = Split(stable=mark(OLD), candidate=mark(NEW), weight=100)
    for manifest in gateway.children(view, now, lambda kind: True):
        plane.admin.apply(PATHS[manifest["kind"]], manifest)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"parentRefs": []}, "parentRefs"),
        ({"parentRefs": [{"name": "a"}, {"name": "a"}]}, "parentRefs"),
        ({"parentRefs": [{"name": "a"}, {"name": "a", "sectionName": "b"}]}, "parentRefs"),
        ({"hostnames": ["a.example"], "grpcHostnames": ["a.example"]}, "grpcHostnames"),
        ({"hostnames": ["UPPER"]}, "hostnames"),
        ({"candidate": {"mirror": 0}}, "mirror"),
        ({"candidate": {"header": {"name": "a b", "value": "c"}}}, "name"),
    ],
)
def test_what_the_gateway_api_would_refuse_is_refused_at_once(
    plane: Plane, change: dict[str, Any], word: str
) -> None:
    wanted = {"parentRefs": [{"name": "public"}], **change}
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "refused"},
        "spec": {"modelLine": "shelf", "target": {"cluster": {"gateway": wanted}}},
    }
    answer = plane.admin.http.post(OURS, json=body)
    assert answer.status_code == 422, answer.text
    assert word in answer.text
