"""(c) How often a fleet with nothing wrong drifts: c of N servers at once, played over centuries.

Servers alarm at random, once in their run length, and drift for `hold` after an alarm. With common
causes, all servers' rate is multiplied by a gamma-distributed factor (CV 0.5), drawn anew for each
stretch of some days: weather that reaches everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modelyard.core.fleet import driftnull

from ..report import Goal, Result, Say, Table, at_most

RUN_LENGTH, HOLD, FLEET_RUN_LENGTH = 90.0, 1.0, 365.0
"""Days."""
SIZES = (50, 500, 5000)
STRETCH = 7.0
"""Days for which a common cause lasts."""
FOR = 1 / 24
"""Days for which c servers must drift."""


@dataclass(frozen=True)
class Played:
    """One size of fleet."""

    servers: int
    common: bool
    threshold: int
    predicted: float
    """Crossings a year by the formula."""
    crossings: float
    """The same in the play."""
    episodes: float
    """Times a year that the condition becomes true: crossings that last, those within `hold` of one
    another counted once."""


def measure(years: int, seed: int, say: Say) -> Result:
    """Independent servers, and servers with common causes."""
    found = []
    for size in SIZES:
        for common in (False, True):
            rng = np.random.default_rng((seed, size, common))
            played = play(size, common, years, rng)
            found.append(played)
            say(
                f"{size} servers{', common causes' if common else ''}: {played.episodes:.2f} a year"
            )
    rows = [
        [
            f"{one.servers:,}",
            "common causes" if one.common else "independent",
            str(one.threshold),
            f"{one.predicted:.2f}",
            f"{one.crossings:.2f}",
            f"{one.episodes:.2f}",
        ]
        for one in found
    ]
    table = Table(
        "False alarms of a fleet a year",
        ["servers", "alarms", "c", "crossings, formula", "crossings, played", "episodes, played"],
        rows,
        f"{years} years; declared: at most one a year. Common causes last {STRETCH:g} days.",
    )
    return [vars(one) for one in found], [table], _goals(found)


def _goals(found: list[Played]) -> list[Goal]:
    goals = []
    for one in found:
        if one.servers == 500:
            continue
        if one.common:
            goals.append(
                at_most(
                    f"{one.servers:,} servers, common causes: episodes a year", 1.5, one.episodes
                )
            )
        else:
            ratio = one.crossings / one.predicted
            name = (
                f"{one.servers:,} independent servers: crossings played / formula, or its inverse"
            )
            goals.append(at_most(name, 1.5, max(ratio, 1 / max(ratio, 1e-9))))
    return goals


def play(size: int, common: bool, years: int, rng: np.random.Generator) -> Played:
    """Counts crossings of c over so many years."""
    variation = driftnull.COMMON_CAUSES if common else 0.0
    threshold = driftnull.threshold(
        size,
        hold=HOLD,
        run_length=RUN_LENGTH,
        fleet_run_length=FLEET_RUN_LENGTH,
        variation=variation,
    )
    predicted = 365 * driftnull.false_alarm_rate(threshold, size, HOLD, RUN_LENGTH, variation)
    crossings = episodes = 0
    for _ in range(years):
        times = _alarms(size, common, 365.0, rng)
        up, lasting = _crossings(times, threshold)
        crossings, episodes = crossings + up, episodes + lasting
    return Played(
        size, common, threshold, predicted, float(crossings / years), float(episodes / years)
    )


def _alarms(size: int, common: bool, days: float, rng: np.random.Generator) -> np.ndarray:
    """Sorted times of servers' alarms."""
    begins = np.arange(0, days, STRETCH)
    rates = np.full(len(begins), size / RUN_LENGTH)
    if common:
        shape = 1 / driftnull.COMMON_CAUSES**2
        rates = rates * rng.gamma(shape, 1 / shape, len(begins))
    counts = rng.poisson(rates * STRETCH)
    times = np.repeat(begins, counts) + rng.uniform(0, STRETCH, counts.sum())
    return np.sort(times)


def _crossings(times: np.ndarray, threshold: int) -> tuple[int, int]:
    """How often the number of alarms of the last `hold` reaches the threshold, and how often it
    stays there for FOR, counted once where less than `hold` lies between."""
    alive = np.arange(len(times)) - np.searchsorted(times, times - HOLD, side="right") + 1
    reached = np.flatnonzero(alive == threshold)
    if not reached.size:
        return 0, 0
    # It falls below again when the oldest of those that count ends, unless others come before.
    changes = np.concatenate([times, times + HOLD])
    steps = np.concatenate([np.ones(len(times)), -np.ones(len(times))])
    order = np.argsort(changes, kind="stable")
    level = np.cumsum(steps[order])
    above = level >= threshold
    starts = np.flatnonzero(above & ~np.concatenate(([False], above[:-1])))
    ends = np.flatnonzero(~above & np.concatenate(([False], above[:-1])))
    moments = changes[order]
    lasting, last = 0, -np.inf
    for begin, end in zip(moments[starts], moments[ends], strict=False):
        if end - begin < FOR:
            continue
        lasting += begin - last > HOLD
        last = end
    return len(starts), lasting
