"""The Lease: one holder at a time, whatever the clocks and the network do."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.kube.errors import AlreadyExists, Conflict, NotFound, Unreachable
from modelyard.runtime.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """One Lease with the API server's optimistic locking."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.writes = 0
        self.lose_answers = False

    async def get(self, *_: Any) -> dict[str, Any]:
        if self.lease is None:
            raise NotFound("no lease")
        return self._copy(self.lease)

    async def create(self, _: Any, manifest: dict[str, Any]) -> dict[str, Any]:
        if self.lease is not None:
            raise AlreadyExists("lease")
        return self._store(manifest)

    async def replace(self, _: Any, manifest: dict[str, Any]) -> dict[str, Any]:
        if self.lease is None:
            raise NotFound("no lease")
        if manifest["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict("changed")
        return self._store(manifest)

    def _store(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.writes += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self.version)}
        self.lease = {**manifest, "metadata": metadata}
        if self.lose_answers:
            raise Unreachable("cut")
        return self._copy(self.lease)

    @staticmethod
    def _copy(lease: dict[str, Any]) -> dict[str, Any]:
        return {**lease, "metadata": dict(lease["metadata"]), "spec": dict(lease["spec"])}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def replica(server: Server, clock: Clock, name: str) -> Lease:
    api: Any = server
    return Lease(api, namespace="ns", name="op", identity=name, seconds=10, clock=clock)


async def test_the_first_gets_it_and_the_second_waits(server: Server, clock: Clock) -> None:
    a, b = replica(server, clock, "a"), replica(server, clock, "b")
    assert await a.acquire_or_renew()
    assert not await b.acquire_or_renew()
    assert a.held
    assert b.holder == "a"


async def test_a_renewing_holder_keeps_it(server: Server, clock: Clock) -> None:
    a, b = replica(server, clock, "a"), replica(server, clock, "b")
    for _ in range(20):
        assert await a.acquire_or_renew()
        assert not await b.acquire_or_renew()
        clock.now += 2.5
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1


async def test_a_silent_holder_stops_before_another_takes_over(
    server: Server, clock: Clock
) -> None:
    a, b = replica(server, clock, "a"), replica(server, clock, "b")
    await a.acquire_or_renew()
    await b.acquire_or_renew()
    taken_after = None
    for step in range(1, 200):
        clock.now += 0.1
        await b.acquire_or_renew()
        assert not (a.held and b.held), f"both hold it after {step / 10} s"
        if b.held:
            taken_after = step / 10
            break
    assert taken_after is not None
    assert 10 <= taken_after <= 10.5


async def test_a_paused_holder_knows_that_it_lost(server: Server, clock: Clock) -> None:
    a, b = replica(server, clock, "a"), replica(server, clock, "b")
    await a.acquire_or_renew()
    await b.acquire_or_renew()
    clock.now += 60
    assert not a.held, "before any request"
    assert await b.acquire_or_renew()
    assert not await a.acquire_or_renew()
    assert not a.held


async def test_a_released_lease_is_taken_at_once(server: Server, clock: Clock) -> None:
    a, b = replica(server, clock, "a"), replica(server, clock, "b")
    await a.acquire_or_renew()
    assert not await b.acquire_or_renew()
    await a.release()
    assert not a.held
    assert await b.acquire_or_renew()


async def test_a_restarted_process_of_the_same_name_goes_on(server: Server, clock: Clock) -> None:
    await replica(server, clock, "pod-0").acquire_or_renew()
    again = replica(server, clock, "pod-0")
    assert await again.acquire_or_renew()


async def test_a_lost_answer_is_no_lost_lease(server: Server, clock: Clock) -> None:
    a = replica(server, clock, "a")
    await a.acquire_or_renew()
    clock.now += 2.5
    server.lose_answers = True
    with pytest.raises(Unreachable):
        await a.acquire_or_renew()
    assert a.held, "the renewal before still counts"
    server.lose_answers = False
    clock.now += 2.5
    assert await a.acquire_or_renew()


async def test_validity_counts_from_before_the_request(server: Server, clock: Clock) -> None:
    a = replica(server, clock, "a")
    slow = server.create

    async def create(*arguments: Any) -> dict[str, Any]:
        made = await slow(*arguments)
        clock.now += 9  # The answer took its time.
        return made

    server.create = create  # type: ignore[method-assign]
    assert not await a.acquire_or_renew(), "by the time we know, it is too old to act on"


async def test_version_tells_the_moment_of_the_latest_write(server: Server, clock: Clock) -> None:
    a = replica(server, clock, "a")
    assert a.version == 0
    await a.acquire_or_renew()
    assert a.version == 1
