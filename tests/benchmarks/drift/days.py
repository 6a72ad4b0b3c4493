"""(b) Days that differ from each other, without a shift, and shifts among such days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelyard.drift.cusum import neighbours

from ..report import Result, Say, Table, at_least, at_most
from . import servers
from .servers import BLOCKS_A_DAY

EFFECT = 0.3
"""sd of a day's effect, in sd of a block."""
BASELINE_DAYS, WATCHED_DAYS = 14, 45
SHIFT = 2.0
"""In sd of a day mean."""


@dataclass(frozen=True)
class Stream:
    """How blocks of a day look, beside their own noise of sd 1."""

    name: str
    effects: Callable[[np.random.Generator, int, int], np.ndarray]
    """[blocks, streams] from (random numbers, days, streams)."""


def _none(rng: np.random.Generator, days: int, count: int) -> np.ndarray:
    return np.zeros((days * BLOCKS_A_DAY, count))


def _days(rng: np.random.Generator, days: int, count: int) -> np.ndarray:
    return np.repeat(EFFECT * rng.standard_normal((days, count)), BLOCKS_A_DAY, axis=0)


def _hours(rng: np.random.Generator, days: int, count: int) -> np.ndarray:
    phase = rng.uniform(0, 2 * np.pi, count)
    angle = 2 * np.pi * np.arange(days * BLOCKS_A_DAY)[:, None] / BLOCKS_A_DAY
    return 0.5 * np.sin(angle + phase)


def _weeks(rng: np.random.Generator, days: int, count: int) -> np.ndarray:
    first = rng.integers(0, 7, count)
    weekend = (np.arange(days)[:, None] + first) % 7 >= 5
    return np.repeat(1.0 * weekend, BLOCKS_A_DAY, axis=0)


STREAMS = (
    Stream("nothing but blocks", _none),
    Stream(f"days differ by {EFFECT:g} sd", _days),
    Stream("day and night differ by 1 sd", _hours),
    Stream("weekends are 1 sd higher", _weeks),
)


@dataclass(frozen=True)
class Found:
    """Of one kind of stream."""

    name: str
    by_day: float
    """Share of servers whose days are charted."""
    alarmed: float
    flat: float
    """The same with a chart of blocks that knows nothing of days."""
    delay: float
    """Median days to a shift of SHIFT day-sd where days are charted; NaN for none."""
    missed: float


def measure(count: int, seed: int, say: Say) -> Result:
    """All kinds of streams, of so many servers with one chart each."""
    rows = []
    for number, stream in enumerate(STREAMS):
        found = _watched(stream, count, np.random.default_rng((seed, 10 + number)))
        rows.append(found)
        say(f"{stream.name}: {found.alarmed:.1%} alarmed in {WATCHED_DAYS} days")
    declared = 1 - np.exp(-WATCHED_DAYS / 90 / servers.SIGNALS)
    table = Table(
        f"Servers with an alarm in {WATCHED_DAYS} days without a shift",
        [
            "blocks",
            "charted by day",
            "alarmed",
            "alarmed, flat chart of blocks",
            f"days until a shift of {SHIFT:g} day-sd, median",
            "missed in 30 days",
        ],
        [
            [
                one.name,
                f"{one.by_day:.0%}",
                f"{one.alarmed:.1%}",
                f"{one.flat:.0%}",
                "" if np.isnan(one.delay) else f"{one.delay:.0f}",
                "" if np.isnan(one.delay) else f"{one.missed:.0%}",
            ]
            for one in rows
        ],
        f"{count} servers, a baseline of {BASELINE_DAYS} days of {BLOCKS_A_DAY} blocks, one signal "
        f"of {servers.SIGNALS}: declared {declared:.1%}.",
    )
    effect = rows[1]
    goals = [
        at_most("alarmed in 45 days, days differ by 0.3 sd", 0.08, effect.alarmed),
        at_most("alarmed in 45 days, nothing but blocks", 0.12, rows[0].alarmed),
        at_least("the flat chart in the same run", 0.9, effect.flat),
    ]
    return [vars(one) for one in rows], [table], goals


def _watched(stream: Stream, count: int, rng: np.random.Generator) -> Found:
    days = BASELINE_DAYS + WATCHED_DAYS + 30
    values = stream.effects(rng, days, count) + rng.standard_normal((days * BLOCKS_A_DAY, count))
    cut, end = BASELINE_DAYS * BLOCKS_A_DAY, (BASELINE_DAYS + WATCHED_DAYS) * BLOCKS_A_DAY
    correlation = np.full(count, neighbours(30, 1.0))
    charts = servers.calibrate(values[:cut], correlation, calendar=True)
    flat = servers.naive(values[:cut], servers.PER_SIDE / servers.BLOCK_SECONDS)
    by_day = charts.by_day > 0
    watched = values[cut:end]
    hourly = servers.alarms(charts, watched)
    daily = servers.alarms(charts, servers.day_means(watched, BLOCKS_A_DAY))
    alarmed = np.where(by_day, daily, hourly) > 0
    delay = missed = float("nan")
    if by_day.mean() > 0.5:
        shift = SHIFT * np.where(by_day, charts.sd, 0)
        steps = servers.first_alarm(
            charts,
            servers.day_means(watched, BLOCKS_A_DAY),
            servers.day_means(values[end:] + shift, BLOCKS_A_DAY),
        )[by_day]
        delay, missed = float(np.median(steps)), float(np.mean(np.isinf(steps)))
    return Found(
        stream.name,
        float(by_day.mean()),
        float(alarmed.mean()),
        float(np.mean(servers.alarms(flat, watched) > 0)),
        delay,
        missed,
    )
