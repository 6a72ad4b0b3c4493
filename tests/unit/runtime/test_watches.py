"""Which watches run, which began anew, which are silent."""

from __future__ import annotations

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
    assert watches.silent(900) == ["Job"]
