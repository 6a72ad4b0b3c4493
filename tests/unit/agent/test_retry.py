"""When a failed assignment is tried again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from modelyard.workloads.agent.retry import Cause, Retries


def waits(cause: Cause, count: int, jitter: float = 0.5) -> list[float]:
    retries, found = Retries(jitter=lambda: jitter), []
    for _ in range(count):
        retries.failed(cause, 1000.0)
        found.append(retries.next_try - 1000.0)
    return found


def test_stores_are_asked_soon_and_refused_loads_slowly():
    assert waits(Cause.FETCH, 4) == pytest.approx([2, 4, 8, 16])
    assert waits(Cause.LOAD, 4) == pytest.approx([20, 40, 80, 160])


@pytest.mark.parametrize("cause", list(Cause))
def test_waits_grow_to_a_bound_and_stay_there(cause):
    found = waits(cause, 60)
    assert all(a <= b for a, b in pairwise(found))
    assert found[-1] == cause.value[1]


def test_servers_spread_out():
    assert waits(Cause.FETCH, 1, 0.0)[0] < waits(Cause.FETCH, 1, 1.0)[0]


def test_a_version_that_ends_triton_is_left_alone_only_where_another_would_suffer():
    retries = Retries(jitter=lambda: 0.5)
    retries.failed(Cause.CRASH, 0.0)
    assert not retries.due(59.0, alternative=True)
    assert retries.due(60.0, alternative=True)
    retries.failed(Cause.CRASH, 60.0)
    assert not retries.due(1e9, alternative=True)
    assert retries.due(1e9, alternative=False)
    retries.reset()
    assert retries.due(0.0, alternative=True)
