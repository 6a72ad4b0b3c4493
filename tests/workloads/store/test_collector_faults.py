"""The collector killed at each of its requests, and publishers at each of them: nothing is lost.

A plan is a number: before or after which request of the collector something happens. All plans are
run on a directory; on versitygw, where each takes half a second, every ninth, or all with
MODELYARD_SLOW_TESTS=1.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

import pytest

from modelyard.contract.paths import SWEEPS, blob_key

from .part import DAY, Killed, Part, thing

Make = Callable[[], Part]


class Plan:
    """Does something at the n-th point of a run."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self._at, self._act = at, act
        self.points = 0
        self.reached = ""

    def __call__(self, what: str, key: str) -> None:
        self.points += 1
        if self.points == self._at:
            self.reached = f"{what} {key}"
            self._act()


class Publisher:
    """Puts blobs that the collector is about to delete, then makes an object that needs them."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._blocked, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def start(self) -> None:
        """Until it has published, or waits for the collector."""
        self._thread.start()
        while not (self._blocked.wait(0.001) or self._done.is_set()):
            pass

    def join(self) -> None:
        self._thread.join(30)
        assert self._done.is_set()

    def _publish(self) -> None:
        part = self._part
        store = part.publisher(self._blocked)
        digests = [store.put_bytes(content) for content in part.waste.values()]
        part.objects.append(thing("Dataset", "new", status={"digests": digests}))
        part.keep("published meanwhile", *digests)
        self._done.set()


def plans(make: Make) -> range:
    """Points of an undisturbed run."""
    part, plan = make(), Plan(0, lambda: None)
    part.collect(ago=8 * DAY)
    part.collect(hook=plan)
    slow = part.location.endpoint is not None and not os.environ.get("MODELYARD_SLOW_TESTS")
    # From the end: that is where it deletes.
    return range(plan.points, 0, -9 if slow else -1)


def test_a_collector_that_is_killed_loses_nothing(part: Make) -> None:
    def kill() -> None:
        raise Killed

    for at in plans(part):
        one, plan = part(), Plan(at, kill)
        one.collect(ago=8 * DAY)
        with pytest.raises(Killed):
            one.collect(hook=plan)
        one.check()
        # The next run does the rest.
        one.collect()
        one.check()
        assert not {blob_key(digest) for digest in one.waste} & one.there(), plan.reached


def test_a_publisher_at_any_moment_loses_nothing(part: Make) -> None:
    for at in plans(part):
        one = part()
        publisher = Publisher(one)
        plan = Plan(at, publisher.start)
        one.collect(ago=8 * DAY)
        one.collect(hook=plan)
        assert plan.reached
        publisher.join()
        one.check()
        one.collect()
        one.check()


@pytest.mark.parametrize("later", [0, 2])
def test_a_publisher_and_a_collector_that_is_killed_lose_nothing(part: Make, later: int) -> None:
    for at in plans(part):
        one = part()
        publisher = Publisher(one)

        def kill(one: Part = one) -> None:
            one.killed.set()
            raise Killed

        meets, ends = Plan(at, publisher.start), Plan(at + later, kill)

        def hook(what: str, key: str, meets: Plan = meets, ends: Plan = ends) -> None:
            meets(what, key)
            ends(what, key)

        one.collect(ago=8 * DAY)
        with contextlib.suppress(Killed):
            one.collect(hook=hook)
        publisher.join()
        one.check()
        one.killed.clear()
        one.collect()
        one.check()


def test_the_fence_of_a_killed_sweep_is_removed_by_a_later_run(part: Make) -> None:
    one = part()
    one.collect(ago=8 * DAY)

    def kill(what: str, key: str) -> None:
        if what == "before delete" and key.startswith("blobs/"):
            raise Killed

    with pytest.raises(Killed):
        one.collect(hook=kill)
    (fence,) = [key for key in one.there() if key.startswith(SWEEPS)]
    one.age(fence, DAY)
    one.collect()
    assert not [key for key in one.there() if key.startswith(SWEEPS)]
