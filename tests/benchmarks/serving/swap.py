"""Part `swap` of the benchmark of serving: what clients notice while versions replace each other.

One real Triton with the pipeline around a real network; the same switcher as in the agent brings
up one version after another, while clients in processes of their own send images over gRPC and
HTTP: in closed loops, then at a fixed rate of about half of what the closed loops reached.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tests.serving.server import Server

from modelyard.contract import control
from modelyard.serving.repository import Repository
from modelyard.serving.settings import ServingSettings
from modelyard.serving.switch import Swap, Switcher

from ..report import Goal, Say, Table, at_most, below
from ..stats import quantile, spread
from .load import Load, rows, running
from .site import LINE, Site

MOST_TIMES_P99 = 3.0


@dataclass(frozen=True)
class Sample:
    """One kind of load over all swaps. Times in milliseconds."""

    load: str
    protocol: str
    requests: int
    failed: int
    rate: float
    """Answered requests a second while nothing was swapped."""
    steady_p50: float
    steady_p99: float
    swap_p50: float
    swap_p99: float
    slowest: list[float]
    """The slowest request of each swap."""

    @property
    def times_p99(self) -> float:
        """The slowest request of all swaps, in steady p99s."""
        return max(self.slowest) / self.steady_p99


@dataclass(frozen=True)
class Swaps:
    """The swaps under one load. Seconds."""

    load: str
    spans: list[tuple[float, float]]
    """From the call until the old version was gone, on CLOCK_MONOTONIC."""
    loads: list[float]
    switches: list[float]


async def measure(
    site: Site, swaps: int, calm: float, say: Say
) -> tuple[list[Sample], list[Swaps]]:
    """Closed loops, then a fixed rate; each with so many swaps, `calm` seconds between them."""
    server = site.server("swap")
    server.start()
    try:
        await server.wait_ready()
        triton = server.client()
        switcher = Switcher(Repository(server.root, LINE), triton)
        samples, found = [], []
        # As the agent would serve it here.
        one_step = (server.control_key.parent / control.RUNTIME).exists()
        settings = ServingSettings(cpus=site.cpus, one_step=one_step)
        number = 1
        await _switch(site, switcher, number, settings)
        rate: float | None = None
        for name in ("closed loop", "fixed rate"):
            loads = _loads(site, server, rate)
            done, spans = [], []
            with running(*loads):
                await asyncio.sleep(calm + 3)
                for _ in range(swaps):
                    number += 1
                    start = time.monotonic()
                    done.append(await _switch(site, switcher, number, settings))
                    spans.append((start, time.monotonic()))
                    await asyncio.sleep(calm)
            found.append(
                Swaps(name, spans, [s.load_seconds for s in done], [s.switch_seconds for s in done])
            )
            samples += [sample(name, load, spans) for load in loads]
            rate = round(sum(s.rate for s in samples) / len(samples) / 2, 1)
            for one in samples[-2:]:
                say(
                    f"{name} {one.protocol}: {one.requests:,} requests, {one.failed} failed, "
                    f"p99 {one.steady_p99:.0f} ms, slowest in a swap {max(one.slowest):.0f} ms"
                )
        await triton.close()
        return samples, found
    finally:
        server.stop()


def _loads(site: Site, server: Server, rate: float | None) -> list[Load]:
    """One over each protocol."""
    return [
        Load(
            kind=kind,
            target=target,
            model=LINE,
            payload=str(site.images),
            out=str(site.folder / f"swap-{kind}.npy"),
            clients=1 if rate is None else 8,
            rate=rate,
        )
        for kind, target in (("grpc", server.grpc), ("http", server.http))
    ]


async def _switch(site: Site, switcher: Switcher, number: int, settings: ServingSettings) -> Swap:
    return await switcher.ensure(number, site.manifest, site.model, settings)


def sample(name: str, load: Load, spans: Sequence[tuple[float, float]]) -> Sample:
    """What one load noticed of swaps at these times."""
    due, seconds, answered = rows(load).T
    within = np.array([(due + seconds >= a) & (due <= b) for a, b in spans])
    steady = ~within.any(axis=0)
    calm = (due.max() - due.min()) - sum(b - a for a, b in spans)
    steady_ms, swap_ms = 1000 * seconds[steady], 1000 * seconds[~steady]
    return Sample(
        load=name,
        protocol=load.kind,
        requests=len(due),
        failed=int((answered == 0).sum()),
        rate=round(float(answered[steady].sum() / calm), 2),
        steady_p50=quantile(steady_ms.tolist(), 0.5),
        steady_p99=quantile(steady_ms.tolist(), 0.99),
        swap_p50=quantile(swap_ms.tolist(), 0.5),
        swap_p99=quantile(swap_ms.tolist(), 0.99),
        slowest=[round(float(1000 * seconds[one].max()), 1) for one in within if one.any()],
    )


def report(samples: Sequence[Sample], swaps: Sequence[Swaps]) -> tuple[list[Table], list[Goal]]:
    """Table and goals of the swap."""
    made = [
        [
            f"{one.load}, {one.protocol}",
            f"{one.requests:,}",
            str(one.failed),
            f"{one.rate:.0f}",
            f"{one.steady_p50:.0f}",
            f"{one.steady_p99:.0f}",
            f"{one.swap_p50:.0f}",
            f"{one.swap_p99:.0f}",
            spread(one.slowest).text(0),
            f"{one.times_p99:.1f}",
        ]
        for one in samples
    ]
    columns = [
        "load",
        "requests",
        "failed",
        "steady, requests/s",
        "p50, ms",
        "p99",
        "in a swap p50, ms",
        "p99",
        "slowest of each swap",
        "slowest / steady p99",
    ]
    loads = spread([x for one in swaps for x in one.loads]).text(1)
    switches = spread([1000 * x for one in swaps for x in one.switches]).text(0)
    note = (
        f"{sum(len(one.spans) for one in swaps)} swaps; load {loads} s, switch {switches} ms. "
        "A swap counts from the call until the old version is gone."
    )
    failed = sum(one.failed for one in samples)
    worst = max(one.times_p99 for one in samples)
    return (
        [Table("The swap under load", columns, made, note)],
        [
            at_most("failed requests over all swaps", 0, failed),
            below("slowest request during a swap, in steady p99s", MOST_TIMES_P99, round(worst, 2)),
        ],
    )


def dump(samples: Sequence[Sample], swaps: Sequence[Swaps]) -> list[dict[str, Any]]:
    """All samples for the report's file."""
    return [{"part": "swap", **asdict(one)} for one in [*samples, *swaps]]
