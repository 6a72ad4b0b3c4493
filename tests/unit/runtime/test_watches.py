"""Which watches run, which began anew, which are silent."""

from __future__ import annotations

import pytest

from modelyard.runtime.watches import Watches


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_complete_when_every_kind_has_started() -> None:
    watches = Watches(["Job", "Pod"])
    watches.started("Job")
    assert not watches.complete
    watches.started("Pod")
    assert watches.complete
    await watches.wait()


async def test_only_a_watch_from_a_new_list_may_have_missed_something() -> None:
    watches = Watches(["Job"])
    anew: list[str] = []
    watches.on_relist = anew.append
    watches.listed("Job")
    watches.started("Job")
    watches.started("Job")
    assert anew == ["Job"]


async def test_silent_watches() -> None:
    clock = Clock()
    watches = Watches(["Job", "Pod"], clock)
    watches.started("Job")
    watches.started("Pod")
    clock.now = 400
    watches.started("Pod")
    clock.now = 950
    assert watches.expired(900) == ["Job"]


async def test_a_refused_kind_is_told_until_it_is_watched(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    watches = Watches(["Job", "Pod"], clock)
    failures: list[tuple[str, int]] = []
    watches.on_failure = lambda kind, status: failures.append((kind, status))
    for kind in ("Job", "Pod"):
        watches.started(kind)
    assert watches.up() == [("Job", 1.0), ("Pod", 1.0)]
    for _ in range(3):
        watches.failed("Pod", 403)
    assert watches.problems() == [
        "cannot watch Pod: the operator's role does not allow to list and watch it"
    ]
    assert watches.up() == [("Job", 1.0), ("Pod", 0.0)]
    assert failures == [("Pod", 403)] * 3
    assert caplog.text.count("cannot watch Pod") == 1, "told once"
    clock.now = 1000
    assert watches.expired(900) == ["Job"], "a restart does not help Pod"
    watches.started("Pod")
    assert watches.problems() == []
    assert watches.up() == [("Job", 1.0), ("Pod", 1.0)]


async def test_no_answer_is_nobodys_fault() -> None:
    watches = Watches(["Job"])
    watches.started("Job")
    watches.failed("Job", 0)
    assert watches.problems() == []
    assert watches.up() == [("Job", 0.0)]


async def test_age_counts_from_what_was_heard_last() -> None:
    clock = Clock()
    watches = Watches(["Job"], clock)
    assert watches.ages() == []
    watches.started("Job")
    clock.now = 70
    assert watches.ages() == [("Job", 70.0)]
    watches.received("Job")
    clock.now = 75
    assert watches.ages() == [("Job", 5.0)]
