"""Stable and the candidate get their requests, and no request finds nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.deployment.traffic import Server, Split, labels, mark, split

OLD, NEW, OTHER = "shelf-1:0.25:0.45:300", "shelf-2:0.25:0.45:300", "shelf-1:0.5:0.45:300"


def server(
    pod: str, loaded: str, *, assigned: str | None = None, ready: bool = True, label: str = "="
) -> Server:
    shown = mark(loaded) if label == "=" else label
    return Server(pod, f"uid-{pod}", ready, shown, assigned or loaded, loaded)


def fleet(old: int, new: int) -> list[Server]:
    return [
        *(server(f"old-{i}", OLD) for i in range(old)),
        *(server(f"new-{i}", NEW) for i in range(new)),
    ]


def selected(servers: Iterable[Server], label: str) -> list[Server]:
    """Servers that a Service leads to."""
    return [s for s in servers if s.ready and (not label or s.label == label)]


def written(servers: Iterable[Server], changes: dict[str, str]) -> list[Server]:
    return [s._replace(label=changes.get(s.pod, s.label)) for s in servers]


def test_labels_tell_versions_and_settings_apart() -> None:
    assert mark(OLD).startswith("shelf-1-")
    assert len({mark(OLD), mark(NEW), mark(OTHER)}) == 3
    assert mark("") == ""


def test_outside_rollouts_all_servers_get_requests_whatever_their_labels() -> None:
    assert split(fleet(3, 0), stable=OLD, candidate=None) == Split()
    unlabelled = [server("a", OLD, label="")]
    assert split(unlabelled, stable=OLD, candidate=None) == Split()
    # Also while a candidate is only staged or shadowed.
    assert split(fleet(3, 0), stable=OLD, candidate=NEW, cap=10) == Split()


def test_until_the_first_server_has_it_the_candidate_gets_nothing() -> None:
    servers = [server("a", OLD), server("b", OLD, assigned=NEW)]
    assert split(servers, stable=OLD, candidate=NEW, cap=10) == Split(stable=mark(OLD))


@pytest.mark.parametrize(
    ("old", "new", "cap", "weight"),
    [
        pytest.param(2, 1, 10, 10, id="step reached: exactly its weight"),
        pytest.param(99, 1, 1, 1, id="one percent"),
        pytest.param(9, 1, 50, 10, id="on the way: the share of servers"),
        pytest.param(5, 5, 50, 50, id="half"),
        pytest.param(3, 1, 100, 25, id="steps by nodes and pools: the share of servers"),
    ],
)
def test_the_candidate_gets_its_weight(old: int, new: int, cap: int, weight: int) -> None:
    made = split(fleet(old, new), stable=OLD, candidate=NEW, cap=cap)
    assert made.stable == mark(OLD)
    assert made.candidate == mark(NEW)
    assert made.weight == weight


def test_in_the_last_step_everything_may_go_everywhere() -> None:
    assert split(fleet(2, 8), stable=OLD, candidate=NEW, last=True) == Split()


def test_after_a_rollback_requests_go_to_stable_once_it_can_bear_them() -> None:
    assert split(fleet(9, 1), stable=OLD, candidate=None) == Split(stable=mark(OLD))
    assert split(fleet(1, 9), stable=OLD, candidate=None) == Split()


def test_servers_without_labels_are_not_cut_off() -> None:
    servers = [server("a", OLD), *(server(f"b{i}", OLD, label="") for i in range(5))]
    assert split(servers, stable=OLD, candidate=NEW) == Split()


def test_a_server_leaves_before_it_switches_and_joins_when_it_has() -> None:
    servers = [server("stays", OLD), server("goes", OLD, assigned=NEW)]
    now = split(servers, stable=OLD, candidate=NEW, cap=50)
    assert labels(servers, now) == {"goes": ""}
    arrived = [server("stays", OLD), server("goes", NEW, label="")]
    assert labels(arrived, now) == {"goes": mark(NEW)}


def test_the_last_server_of_a_side_stays_until_it_has_switched() -> None:
    servers = [server("only", OLD, assigned=NEW)]
    now = split(servers, stable=OLD, candidate=NEW, cap=50)
    assert now == Split()
    assert labels(servers, now) == {}


KEYS = st.sampled_from(["", OLD, NEW, OTHER])
SERVERS = st.lists(
    st.builds(
        Server,
        pod=st.uuids().map(str),
        uid=st.just("u"),
        ready=st.booleans(),
        label=st.sampled_from([None, "", mark(OLD), mark(NEW), mark(OTHER)]),
        assigned=st.sampled_from([OLD, NEW]),
        loaded=KEYS,
    ),
    max_size=8,
)


@given(
    servers=SERVERS,
    candidate=st.sampled_from([None, NEW]),
    cap=st.integers(1, 100),
    last=st.booleans(),
)
def test_no_request_finds_nobody(
    servers: list[Server], candidate: str | None, cap: int, last: bool
) -> None:
    """Whatever the state: before and after the labels are written, both Services lead to a server
    that is ready, if there is any."""
    for _ in range(4):
        now = split(servers, stable=OLD, candidate=candidate, cap=cap, last=last)
        assert 0 <= now.weight <= cap
        changes = labels(servers, now)
        after = written(servers, changes)
        for state in (servers, after):
            if any(s.ready for s in state):
                assert selected(state, now.stable)
                assert selected(state, now.candidate or now.stable)
        if not changes:
            return
        servers = after
    raise AssertionError("does not settle")


@dataclass
class Play:
    """A rollout in which servers switch one at a time; looks whenever something changes."""

    servers: list[Server]
    cap: int
    last: bool = False
    candidate: str | None = NEW

    def look(self) -> Split:
        now = split(
            self.servers, stable=OLD, candidate=self.candidate, cap=self.cap, last=self.last
        )
        assert selected(self.servers, now.stable)
        assert selected(self.servers, now.candidate or now.stable)
        self.servers = written(self.servers, labels(self.servers, now))
        assert selected(self.servers, now.stable)
        if now.narrow:
            assert {s.loaded for s in selected(self.servers, now.stable)} == {OLD}
        if now.candidate:
            assert {s.loaded for s in selected(self.servers, now.candidate)} == {NEW}
        return now

    def move(self, number: int, key: str) -> None:
        """A server is told to switch, and after a while has."""
        self.servers[number] = self.servers[number]._replace(assigned=key)
        self.look()
        self.servers[number] = self.servers[number]._replace(loaded=key)
        self.look()
        self.look()


@pytest.mark.parametrize("count", range(1, 7))
@pytest.mark.parametrize("cap", [1, 10, 50, 99])
def test_each_side_answers_only_its_own_requests_all_the_way(count: int, cap: int) -> None:
    play = Play(fleet(count, 0), cap)
    reached = -(-count * cap // 100)
    for number in range(reached):
        play.move(number, NEW)
    if reached < count:
        assert play.look().weight == cap
    back = replace(play, candidate=None, servers=list(play.servers))
    for number in range(reached):
        back.move(number, OLD)
    assert back.look() == Split()
    play.last = True
    for number in range(reached, count):
        play.move(number, NEW)
    done = split(play.servers, stable=NEW, candidate=None)
    assert done == Split()
