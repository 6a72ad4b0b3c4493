"""A real Gateway that copies requests to the candidate: users see stable only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ..waiting import until
from .servers import Request
from .stage import NEW, OLD, Load, Stage

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    # Traefik has no RequestMirror.
    pytest.mark.parametrize("site", ["contour"], indirect=True),
]

# Seconds that a server takes to load a version, by when nobody leads requests there any more.
LOADS = 2.0
CANARY = {"stable": OLD, "candidate": NEW, "cap": 34}


@pytest.fixture
def mirrored(stage: Callable[..., Stage]) -> Callable[..., Stage]:
    """Starts a Deployment whose first of three servers holds the candidate, which gets copies."""

    def start(name: str, **candidate: Any) -> Stage:
        one = stage(name, 3, weighted=False, **candidate)
        one.rollout = dict(CANARY)
        one.move(0, NEW, LOADS)
        until(lambda: copying(one), what="copies to arrive")
        return one

    return start


def copying(one: Stage) -> bool:
    """Whether the candidate, which answers nobody, has heard of a request by now."""
    before = len(one.pods[0].heard)
    assert one.ask(**{"x-request": "trial"}) == "1"
    return len(one.pods[0].heard) > before


def ask_all(one: Stage, protocol: str, count: int) -> tuple[Counter[str], Counter[Request]]:
    """So many requests: which versions answered, and what was asked."""
    ask = {"http": one.ask, "grpc": one.ask_grpc}[protocol]
    asked = [Request(f"{protocol}-{n}", f"image {n}".encode() * 1000) for n in range(count)]
    answers = Counter(ask(each.content, **{"x-request": each.number}) for each in asked)
    return answers, Counter(asked)


def heard(one: Stage, *pods: int) -> Counter[Request]:
    """How often these servers were asked each request of a user, less trials."""
    return Counter(
        each for pod in pods for each in one.pods[pod].heard if each.number not in ("", "trial")
    )


def limit(why: str) -> pytest.MarkDecorator:
    """What this Gateway cannot do. Fails once it can, so that docs/serving.md is put right."""
    return pytest.mark.xfail(reason=why, strict=True)


H1 = limit("Contour sends copies over HTTP/1 always: projectcontour/contour#7277")


@pytest.mark.parametrize("protocol", ["http", pytest.param("grpc", marks=H1)])
def test_the_candidate_gets_one_whole_copy_of_each_request(
    mirrored: Callable[..., Stage], protocol: str
) -> None:
    one = mirrored(f"whole-{protocol}", mirror=100)
    _, asked = ask_all(one, protocol, 100)
    assert heard(one, 1, 2) == asked, "those who answer are asked as ever"
    until(lambda: heard(one, 0).total() >= asked.total(), 10, what="all copies to arrive")
    assert heard(one, 0) == asked


@limit("Contour copies all requests, whatever the percentage")
def test_the_candidate_gets_the_wanted_percentage(mirrored: Callable[..., Stage]) -> None:
    one = mirrored("percent", mirror=20)
    _, asked = ask_all(one, "http", 400)
    least, most = one.site.range(20, asked.total())
    until(lambda: heard(one, 0).total() >= least, 10, what="copies to arrive")
    assert heard(one, 0).total() <= most


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_users_see_nothing_of_a_candidate_that_fails_hangs_or_is_gone(
    mirrored: Callable[..., Stage], protocol: str
) -> None:
    one = mirrored(f"harm-{protocol}", mirror=100)
    candidate, stable = one.pods[0], Counter({"1": 50})
    assert ask_all(one, protocol, 50)[0] == stable
    candidate.failing = True
    assert ask_all(one, protocol, 50)[0] == stable
    candidate.free.clear()
    assert ask_all(one, protocol, 50)[0] == stable
    if protocol == "http":
        assert candidate.answered < len(candidate.heard), "it keeps copies waiting"
    candidate.stop()
    assert ask_all(one, protocol, 50)[0] == stable
    one.is_taken()


def test_no_request_is_lost_when_copying_begins_and_ends(stage: Callable[..., Stage]) -> None:
    one = stage("begins", 3, weighted=False, mirror=100)
    with Load(one) as load:
        one.rollout = dict(CANARY)
        one.move(0, NEW, LOADS)
        until(lambda: copying(one), what="copies to arrive")
        one.rollout = {"stable": OLD, "candidate": None}  # Rolled back.
        one.reconcile()
        one.move(0, OLD)
        one.rollout = dict(CANARY)
        one.move(0, NEW, LOADS)
        until(lambda: copying(one), what="copies to arrive again")
        assert load.count.keys() == {"1"}
        one.rollout |= {"last": True}
        one.reconcile()
        for number in (1, 2):
            one.move(number, NEW)
        one.rollout = {"stable": NEW, "candidate": None}
        one.reconcile()
        one.settles(new=100)
    load.judge()
