"""One sample: an arm alone on an empty namespace takes N objects from their creation to the end.

1. *Creation*: 50 creators send N objects; it lasts from the first request until the last child
   has been seen, and then until nobody writes any more.
2. *Running*: the actor brings all pods to Running; until nobody writes any more.
3. *End*: the actor completes all pods; until the last owner says so, and nobody writes any more.

The API server's counters are read only between the steps: rendering its metrics costs it CPU.

CPU until the last child is counted apart, of everything that runs: on a machine whose cores are all
busy with the sample, objects/s are cores divided by CPU an object, and CPU is hardly distorted by
whatever else runs there.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field

from .actor import Actor
from .api import Manifest, each
from .arms import JOB, Arm, owner_name
from .processes import TooLong, Usage, usage
from .site import Site
from .stats import quantile

PREFIX = "bench-"
WARM_UP = 20
"""Objects that each arm takes to their child before it is measured: connections, caches."""


@dataclass
class Sample:
    """What one arm did with N objects. Times in seconds, CPU in milliseconds, per object."""

    arm: str
    objects: int
    round: int
    seconds: float = 0.0
    """From the first create to the last child."""
    rate: float = 0.0
    """Objects a second over that time."""
    child_p50: float = 0.0
    child_p99: float = 0.0
    cpu_to_child: dict[str, float] = field(default_factory=dict)
    """Of every process, by its part in the sample, from the first create to the last child."""
    written_to_child: dict[str, float] = field(default_factory=dict)
    """Writes per object in that time; the harness's own not counted."""
    created: dict[str, float] = field(default_factory=dict)
    """Writes per object, by name, until its Job runs; the harness's own not counted."""
    lived: dict[str, float] = field(default_factory=dict)
    """Writes per object from then on."""
    created_cpu_ms: float | None = None
    life_cpu_ms: float | None = None
    """From creation to the end."""
    final_p50: float | None = None
    """Create → child, plus end of the pod → final status: without the harness's own time."""
    final_p99: float | None = None
    end_rate: float | None = None
    """Objects a second from the first pod that ended to the last final status."""
    rss_mb: float | None = None
    """Resident memory of the controllers at the end."""


class Sampler:
    """Takes the samples of one arm on one site."""

    def __init__(self, site: Site, arm: Arm, deadline: float) -> None:
        """`deadline`: seconds that each step may take."""
        self._site, self._arm, self._deadline = site, arm, deadline
        self._sent: dict[str, float] = {}
        self._children: dict[str, float] = {}
        self._finals: dict[str, float] = {}

    async def take(self, objects: int, number: int, *, life: bool) -> Sample:
        """One sample; `life` adds the steps after the creation. Raises TooLong, Refused."""
        site, arm = self._site, self._arm
        sample = Sample(arm.name, objects, number)
        await site.empty()
        try:
            await arm.start(objects)
            await self._create("warm-", min(WARM_UP, objects))
            before, cost = await site.settled(self._deadline), self._usage()
            self._sent.clear()
            self._children.clear()
            all_cpu = self._cpu_of_all()
            await self._create(PREFIX, objects)
            sample.cpu_to_child = {
                part: (seconds - all_cpu[part]) * 1000 / objects
                for part, seconds in self._cpu_of_all().items()
            }
            self._read_creation(sample)
            if arm.child is not None:
                by_then = await site.api.controllers_writes()
                sample.written_to_child = _per_object(by_then - before, objects)
                created = await site.settled(self._deadline)
                sample.created = _per_object(created - before, objects)
                sample.created_cpu_ms = self._cpu_since(cost, objects)
            if life and arm.lives:
                await self._live(sample)
                lived = await site.settled(self._deadline)
                sample.lived = _per_object(lived - created, objects)
                sample.life_cpu_ms = self._cpu_since(cost, objects)
            end = self._usage()
            sample.rss_mb = None if end is None else round(end.rss_mb, 1)
        finally:
            arm.stop()
        return sample

    async def _create(self, prefix: str, objects: int) -> None:
        arm, api = self._arm, self._site.api

        async def one(number: int) -> None:
            name = f"{prefix}{number:05d}"
            self._sent[name] = time.perf_counter()
            await api.create(arm.owner, arm.manifest(name, number))
            if arm.child is None:
                self._children[name] = time.perf_counter()

        def seen(child: Manifest, now: float) -> None:
            owner = owner_name(child["metadata"])
            if owner in self._sent:
                self._children.setdefault(owner, now)

        if arm.child is None:
            await each(range(objects), one)
            return
        async with api.watching(arm.child, seen, metadata_only=True):
            await each(range(objects), one)
            await self._all(self._children, objects, f"{arm.child.plural} of {arm.label}")

    async def _live(self, sample: Sample) -> None:
        arm, site = self._arm, self._site
        actor = Actor(site.api, plays_jobs=arm.child is JOB, prefix=PREFIX)
        self._finals.clear()

        def seen(owner: Manifest, now: float) -> None:
            name = owner["metadata"]["name"]
            if name.startswith(PREFIX) and name not in self._finals and arm.finished(owner):
                self._finals[name] = now

        async with site.api.watching(arm.owner, seen, metadata_only=False):
            await actor.run()
            await site.settled(self._deadline)
            await actor.end()
            await self._all(self._finals, sample.objects, f"final status of {arm.label}")
        waits = [
            self._children[name] - self._sent[name] + max(final - actor.ended[name], 0.0)
            for name, final in self._finals.items()
        ]
        sample.final_p50, sample.final_p99 = quantile(waits, 0.5), quantile(waits, 0.99)
        took = max(self._finals.values()) - min(actor.ended.values())
        sample.end_rate = sample.objects / took

    async def _all(self, seen: dict[str, float], wanted: int, what: str) -> None:
        deadline = time.perf_counter() + self._deadline
        while len(seen) < wanted:
            if time.perf_counter() > deadline:
                raise TooLong(
                    f"{len(seen)} of {wanted} {what} after {self._deadline:.0f} s; logs: "
                    f"{self._site.folder}"
                )
            await asyncio.sleep(0.02)

    def _read_creation(self, sample: Sample) -> None:
        sample.seconds = max(self._children.values()) - min(self._sent.values())
        sample.rate = sample.objects / sample.seconds
        waits = [seen - self._sent[name] for name, seen in self._children.items()]
        sample.child_p50, sample.child_p99 = quantile(waits, 0.5), quantile(waits, 0.99)

    def _cpu_of_all(self) -> dict[str, float]:
        """CPU seconds so far of each process that takes part."""
        plane = self._site.plane.processes
        parts = {"API server": plane.running("kube-apiserver"), "etcd": plane.running("etcd")}
        found = {name: usage(one.pid).cpu_seconds for name, one in parts.items() if one}
        found["load"] = usage(os.getpid()).cpu_seconds
        own = self._usage()
        if own is not None:
            found["controllers"] = own.cpu_seconds
        return found

    def _usage(self) -> Usage | None:
        return None if self._arm.pid is None else usage(self._arm.pid)

    def _cpu_since(self, before: Usage | None, objects: int) -> float | None:
        now = self._usage()
        if now is None or before is None:
            return None
        return (now.cpu_seconds - before.cpu_seconds) * 1000 / objects


def _per_object(writes: Counter[str], objects: int) -> dict[str, float]:
    return {name: round(n / objects, 4) for name, n in sorted(writes.items()) if n}
