"""(a) False alarms realised / declared, and (d) delays of shifts, on correlated normal streams."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..report import Goal, Result, Say, Table, at_least, at_most
from . import blocks, servers
from .servers import RUN_LENGTH, SIGNALS, Charts

CORRELATIONS = (0.0, 0.7, 0.95)
BASELINES = (400, 1200)
NAIVE = 100
SHIFTS = (0.5, 1.0, 2.0)
BEFORE = 50
"""Blocks between baseline and shift."""
BOUNDS = {400: (0.5, 2.0), 1200: (0.7, 1.4)}


@dataclass(frozen=True)
class Cell:
    """One correlation and baseline."""

    rho: float
    baseline: int
    naive: bool
    ratio: float
    """Alarms / declared alarms."""
    share: float
    """Charts with an alarm within the run length."""
    images: float
    """Median length of a block."""
    threshold: float
    delays: dict[float, tuple[float, float, float]]
    """By shift in sd of an image: median and 90 % quantile of images to the alarm, share found."""


def measure(count: int, seed: int, say: Say, *, days: float = 90) -> Result:
    """All cells, of so many servers with 8 charts each."""
    cells = []
    for rho in CORRELATIONS:
        for baseline, naive in ((NAIVE, True), *((b, False) for b in BASELINES)):
            cell = _cell(rho, baseline, naive, count, seed, days)
            cells.append(cell)
            say(
                f"AR(1) {rho:g}, {baseline} blocks{', naive' if naive else ''}: realised / "
                f"declared {cell.ratio:.2f}"
            )
    samples = [
        {**vars(cell), "delays": [[k, *v] for k, v in cell.delays.items()]} for cell in cells
    ]
    return samples, [_alarms(cells, count, days), _delays(cells)], _goals(cells)


def _cell(rho: float, baseline: int, naive: bool, count: int, seed: int, days: float) -> Cell:
    rng = np.random.default_rng((seed, int(100 * rho), baseline))
    lengths, correlation = servers.piloted(rng, rho, count)
    streams = np.repeat(lengths, SIGNALS)
    horizon = int(days * 86400 / servers.BLOCK_SECONDS)
    base = blocks.draw(rng, rho, streams, baseline)
    if naive:
        charts = servers.naive(base, servers.PER_SIDE / servers.BLOCK_SECONDS)
    else:
        charts = servers.calibrate(base, np.repeat(correlation, SIGNALS))
    found = servers.alarms(charts, blocks.draw(rng, rho, streams, horizon))
    declared = days * 86400 / RUN_LENGTH / SIGNALS
    return Cell(
        rho=rho,
        baseline=baseline,
        naive=naive,
        ratio=float(found.mean() / declared),
        share=float(np.mean(found > 0)),
        images=float(np.median(lengths)),
        threshold=float(np.median(charts.up)),
        delays={} if naive else _shifted(rng, rho, streams, charts),
    )


def _shifted(
    rng: np.random.Generator, rho: float, streams: np.ndarray, charts: Charts
) -> dict[float, tuple[float, float, float]]:
    found = {}
    for shift in SHIFTS:
        drawn = blocks.draw(rng, rho, streams, BEFORE + 200)
        after = drawn[BEFORE:] + shift
        # The shift begins within a block, at any of its images.
        part = rng.uniform(0, 1, len(streams))
        after[0] -= shift * part
        steps = servers.first_alarm(charts, drawn[:BEFORE], after)
        delays = (steps - part) * streams
        found[shift] = (
            float(np.median(delays)),
            float(np.quantile(delays, 0.9)),
            float(np.mean(np.isfinite(delays))),
        )
    return found


def _alarms(cells: list[Cell], count: int, days: float) -> Table:
    rows = [
        [
            "naive" if cell.naive else "Modelyard",
            f"{cell.baseline:,}",
            f"{cell.rho:g}",
            f"{cell.images:.0f}",
            f"{cell.threshold:.1f}",
            f"{cell.ratio:.2f}",
            f"{cell.share:.1%}",
        ]
        for cell in cells
    ]
    declared = 1 - math.exp(-days * 86400 / RUN_LENGTH / SIGNALS)
    return Table(
        "False alarms of one server, realised / declared",
        [
            "estimator",
            "blocks of the baseline",
            "AR(1) of images",
            "images a block (median)",
            "threshold, sd",
            "realised / declared",
            "charts with an alarm",
        ],
        rows,
        f"{count} servers a cell with {SIGNALS} charts each, {days:g} days of one block in five "
        f"minutes, declared one false alarm of a server in 90 days: {declared:.1%} of charts.",
    )


def _delays(cells: list[Cell]) -> Table:
    rows = []
    for cell in cells:
        if not cell.naive:
            shown = [
                f"{median:,.0f} ({late:,.0f})" if share > 0.9 else f"found {share:.0%}"
                for median, late, share in cell.delays.values()
            ]
            rows.append([f"{cell.baseline:,}", f"{cell.rho:g}", *shown])
    return Table(
        "Images until a shift of the mean is found",
        ["blocks of the baseline", "AR(1) of images", *(f"{s:g} sd of an image" for s in SHIFTS)],
        rows,
        "Median (90 % quantile), at the thresholds of the table above; one image in 10 s.",
    )


def _goals(cells: list[Cell]) -> list[Goal]:
    goals = []
    for cell in cells:
        name = f"AR(1) {cell.rho:g}, {cell.baseline:,} blocks"
        if cell.naive:
            goals.append(at_least(f"{name}, naive: realised / declared", 5, cell.ratio))
        else:
            low, high = BOUNDS[cell.baseline]
            goals.append(at_least(f"{name}: realised / declared", low, cell.ratio))
            goals.append(at_most(f"{name}: realised / declared", high, cell.ratio))
    return goals
