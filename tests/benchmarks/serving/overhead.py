"""Part `overhead` of the benchmark of serving: the pipeline beside what could be used instead.

The same network, images, machine and clients for all arms (arms.py); one arm at a time is asked, in
turns, and ratios are taken within a round. Tables and goals: overheadfigures.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..report import Say
from ..stats import quantile
from .arms import BEFORE, LABELS, Arms, Target, all_of, checkout
from .overheadfigures import Sample
from .site import Site

WARM_SECONDS = 0.3
"""Of each cell, which do not count."""
MOST_SECONDS = 6.0
"""Of a cell, however slow the arm."""


@dataclass(frozen=True)
class Wanted:
    """What is measured."""

    rounds: int
    seconds: float
    """Of each cell, more where an arm is slow."""
    clients: Sequence[int]
    networks: Sequence[int]
    images: Sequence[str]
    arms: Sequence[str] = tuple(LABELS)
    against: str | None = None
    """Commit whose layout is asked too."""


def measure(site: Site, wanted: Wanted, say: Say) -> tuple[list[Sample], dict[str, str]]:
    """Every arm in every cell of every round; and what was left out, with reasons."""
    samples: list[Sample] = []
    left_out: dict[str, str] = {}
    with checkout(wanted.against, site.folder) as before:
        names = [name for name in LABELS if name in wanted.arms]
        if before is None and BEFORE in names:
            names.remove(BEFORE)
        for size in wanted.networks:
            chosen = {name: LABELS[name] for name in names}
            with all_of(site, size, chosen, max(wanted.clients), before, say) as arms:
                say(f"{size} px: {len(arms.targets)} arms answer")
                left_out |= arms.left_out
                samples += _of_network(site, arms, size, wanted, say)
    return samples, left_out


def _of_network(site: Site, arms: Arms, size: int, wanted: Wanted, say: Say) -> list[Sample]:
    tensor = site.folder / f"tensor-{size}.npy"
    np.save(tensor, np.random.default_rng(0).random((1, 3, size, size), np.float32))
    samples: list[Sample] = []
    rates: dict[tuple[str, str], float] = {}
    for number in range(1, wanted.rounds + 1):
        for place, image in enumerate(wanted.images):
            for clients in wanted.clients:
                # Each cell begins with another arm.
                turn = (number + place + clients) % len(arms.targets)
                order = list(arms.targets)[turn:] + list(arms.targets)[:turn]
                for arm in order:
                    target = arms.targets[arm]
                    # Tensors do not depend on the images; they are sent again for the ratios of
                    # this cell.
                    payload = str(tensor if target.tensor else site.jpegs(image))
                    known = rates.get((arm, image))
                    seconds = _seconds(wanted.seconds, clients, known)
                    one = _take(site, target, payload, clients, seconds)
                    rates[arm, image] = one[0]
                    samples.append(Sample(arm, number, size, image, clients, *one))
                line = ", ".join(f"{s.arm} {s.rate:.1f}" for s in samples[-len(order) :])
                say(f"round {number}, {size} px, {image}, {clients} clients, requests/s: {line}")
    return samples


def _seconds(least: float, clients: int, rate: float | None) -> float:
    """Long enough for twice as many answers as there are clients."""
    if rate is None or rate <= 0:
        return least
    return min(max(least, 2 * clients / rate), max(MOST_SECONDS, least))


def _take(
    site: Site, target: Target, payload: str, clients: int, seconds: float
) -> tuple[float, float, float, int]:
    """Answered requests a second, p50 and p99 in milliseconds, failed requests."""
    load = target.load(site.kept, payload, clients, seconds + WARM_SECONDS)
    return counted(target.driver.run(load), seconds)


def counted(rows: Any, seconds: float) -> tuple[float, float, float, int]:
    """Figures of a cell's rows [requests, 3], for the last so many seconds before its end."""
    due, spent, answered = rows.T
    # Clients stop to send at the end, so the last request is due at it.
    end = float(due.max())
    start = end - seconds
    done = due + spent
    good = answered == 1
    within = good & (done > start) & (done <= end)
    # A request counts for latency if it was sent within the window; those on their way at its
    # end are waited for.
    latencies = (1000 * spent[good & (due >= start)]).tolist()
    if not latencies:
        return 0.0, 0.0, 0.0, int((~good).sum())
    return (
        round(float(within.sum()) / seconds, 2),
        round(quantile(latencies, 0.5), 2),
        round(quantile(latencies, 0.99), 2),
        int((~good).sum()),
    )
