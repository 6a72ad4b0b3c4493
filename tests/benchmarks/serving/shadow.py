"""Part `shadow` of the benchmark of serving: what users notice of a version that runs beside.

The real agent shadows the same network as another version on a share of the requests of clients at
a fixed rate; in turns with it, another Triton and agent are asked that shadow nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..report import Goal, Say, Table, at_least, at_most
from ..site import free_port
from ..stats import quantile, ratios, spread
from .agent import Orders, agent, orders
from .load import Load, rows, running
from .site import LINE, Site, started

ARMS = {"alone": "stable alone", "shadow": "with a shadowed version"}
MOST_TIMES_P95 = 1.1


@dataclass(frozen=True)
class Sample:
    """One arm in one round. Times in milliseconds."""

    arm: str
    round: int
    requests: int
    failed: int
    p50: float
    p95: float
    p99: float


async def measure(
    site: Site, rounds: int, seconds: float, rate: float, share: float, say: Say
) -> tuple[list[Sample], int]:
    """Every arm in every round, at so many requests a second; and how many images the shadowed
    version answered."""
    samples = []
    with ExitStack() as stack:
        given: dict[str, Orders] = {}
        loads = {}
        for arm in ARMS:
            server = stack.enter_context(await started(site.server(f"shadow-{arm}")))
            given[arm] = orders(site, server, free_port(), share=share if arm == "shadow" else None)
            stack.enter_context(agent(given[arm]))
            loads[arm] = Load(
                kind="grpc",
                target=server.grpc,
                model=LINE,
                payload=str(site.images),
                out=str(site.folder / f"shadow-{arm}.npy"),
                clients=8,
                rate=rate,
            )
        await asyncio.sleep(10)  # until the shadowed version is up
        for number in range(1, rounds + 1):
            arms = list(ARMS) if number % 2 else list(reversed(ARMS))
            for arm in arms:
                with running(loads[arm]):
                    await asyncio.sleep(seconds + 2)
                _, spent, answered = rows(loads[arm]).T
                found = (1000 * spent).tolist()
                one = Sample(
                    arm=arm,
                    round=number,
                    requests=len(found),
                    failed=int((answered == 0).sum()),
                    **{f"p{q}": round(quantile(found, q / 100), 2) for q in (50, 95, 99)},
                )
                samples.append(one)
                say(f"round {number} {ARMS[arm]}: p50 {one.p50:.1f} ms, p95 {one.p95:.1f} ms")
    return samples, _answered(Path(given["shadow"].folder) / "agent.log")


def _answered(log: Path) -> int:
    """What the agent said at its end."""
    found = re.findall(r"^shadow: .*\bimages=(\d+)", log.read_text(), re.MULTILINE)
    return int(found[-1]) if found else 0


def report(
    samples: Sequence[Sample], answered: int, rate: float, share: float
) -> tuple[list[Table], list[Goal]]:
    """Table and goals of the shadow."""
    made = []
    for arm, label in ARMS.items():
        mine = [one for one in samples if one.arm == arm]
        made.append(
            [
                label,
                f"{sum(one.requests for one in mine):,}",
                str(sum(one.failed for one in mine)),
                *(
                    spread(values).text(1)
                    for values in (
                        [one.p50 for one in mine],
                        [one.p95 for one in mine],
                        [one.p99 for one in mine],
                    )
                ),
            ]
        )
    p95 = {arm: {one.round: one.p95 for one in samples if one.arm == arm} for arm in ARMS}
    ratio = ratios(p95["shadow"], p95["alone"])
    note = (
        f"{rate:g} requests/s over gRPC; a share of {share:g} was copied, and {answered:,} copies "
        f"were answered. p95 with / without: {ratio.text(2) if ratio else '-'}."
    )
    columns = ["arm", "requests", "failed", "p50, ms", "p95, ms", "p99, ms"]
    bound = at_most(
        f"p95 of stable with a shadow on a share of {share:g}, in those without",
        MOST_TIMES_P95,
        None if ratio is None else round(ratio.median, 3),
    )
    seen = at_least("copies that the shadowed version answered", 1, answered)
    return [Table("The cost of a shadow", columns, made, note)], [bound, seen]


def dump(samples: Sequence[Sample], answered: int) -> list[dict[str, Any]]:
    """All samples for the report's file."""
    return [
        *({"part": "shadow", **asdict(one)} for one in samples),
        {"part": "shadow", "answered": answered},
    ]
