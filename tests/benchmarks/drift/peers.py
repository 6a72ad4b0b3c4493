"""(e) Other detectors on the same streams, each tuned to the false alarms that ours had.

Ours is calibrated from a baseline alone. The others' thresholds are chosen afterwards, on streams
without a change of the same correlation, so that they alarm as rarely: knowledge that nobody has at
a site. river is Montiel et al., "River: machine learning for streaming data in Python", JMLR 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from river.drift import ADWIN, KSWIN, PageHinkley
from scipy.stats import ks_2samp

from ..report import Result, Say, Table, at_most
from . import blocks, servers

CORRELATIONS = (0.0, 0.7)
SHIFTS = (0.5, 1.0)
BASELINE_BLOCKS = 400
PER_ALARM = 20_000
"""Images for one false alarm of one chart."""
CALM, SHIFTED = 2000, 8000
"""Images before and after a shift."""

Alarms = Callable[[np.ndarray, np.ndarray, float], list[int]]
"""(baseline, images, threshold) → indexes of alarms; the detector starts anew after each."""


@dataclass(frozen=True)
class Peer:
    """A detector and thresholds to choose from, the most sensitive one first."""

    name: str
    thresholds: Sequence[float]
    alarms: Alarms


def _stream(make: Callable[[float], object], warm: int) -> Alarms:
    """Detectors of river, warmed up with the end of the baseline."""

    def alarms(baseline: np.ndarray, values: np.ndarray, threshold: float) -> list[int]:
        found = []
        detector = make(threshold)
        for value in baseline[-warm:]:
            detector.update(float(value))  # type: ignore[attr-defined]
        for index, value in enumerate(values):
            detector.update(float(value))  # type: ignore[attr-defined]
            if detector.drift_detected:  # type: ignore[attr-defined]
                found.append(index)
                detector = make(threshold)
        return found

    return alarms


def _windows(size: int, statistic: Callable[[np.ndarray, np.ndarray], float]) -> Alarms:
    """A statistic of each window of so many images against the baseline."""

    def alarms(baseline: np.ndarray, values: np.ndarray, threshold: float) -> list[int]:
        ends = range(size, len(values) + 1, size)
        return [e - 1 for e in ends if statistic(baseline, values[e - size : e]) > threshold]

    return alarms


def _ks(baseline: np.ndarray, window: np.ndarray) -> float:
    return float(ks_2samp(baseline, window, method="asymp").statistic)


def _psi(baseline: np.ndarray, window: np.ndarray) -> float:
    edges = np.quantile(baseline, np.linspace(0, 1, 11)[1:-1])
    bins = np.searchsorted(edges, window)
    share = np.maximum(np.bincount(bins, minlength=10) / len(window), 1e-3)
    return float(np.sum((share - 0.1) * np.log(share / 0.1)))


PEERS = (
    Peer(
        "river ADWIN",
        (0.002, 1e-3, 1e-4, 1e-6, 1e-9, 1e-13, 1e-18, 1e-25, 1e-35, 1e-50),
        _stream(lambda t: ADWIN(delta=t), 2000),
    ),
    Peer(
        "river Page-Hinkley",
        (10, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960),
        _stream(lambda t: PageHinkley(threshold=t, min_instances=30), 2000),
    ),
    Peer(
        "river KSWIN",
        (1e-5, 1e-6, 1e-8, 1e-10, 1e-13),
        _stream(lambda t: KSWIN(alpha=t, seed=1), 200),
    ),
    Peer("KS, windows of 100", tuple(np.linspace(0.08, 0.5, 43)), _windows(100, _ks)),
    Peer("PSI, windows of 100", tuple(np.linspace(0.05, 1.5, 59)), _windows(100, _psi)),
    Peer("PSI, windows of 500", tuple(np.linspace(0.01, 0.8, 80)), _windows(500, _psi)),
)
SLOW = ("river KSWIN",)
"""Detectors that see fewer null images, for they test at each one."""


@dataclass(frozen=True)
class Outcome:
    """Of one detector on streams of one correlation."""

    detector: str
    rho: float
    threshold: float
    """NaN for ours, which has one of each stream."""
    false_alarms: float
    """Per 10,000 images."""
    delays: dict[float, tuple[float, float]]
    """By shift: median images, share missed."""


def measure(streams: int, seed: int, say: Say) -> Result:
    """All detectors, on so many streams of each correlation."""
    found = []
    for rho in CORRELATIONS:
        rng = np.random.default_rng((seed, 40, int(100 * rho)))
        ours, length = _ours(rho, streams, rng)
        found.append(ours)
        say(f"AR(1) {rho:g}, Modelyard: {ours.false_alarms:.2f} per 10,000 images")
        drawn = blocks.images(rng, rho, BASELINE_BLOCKS * length + PER_ALARM, streams).T
        base, null = np.split(drawn, [BASELINE_BLOCKS * length], axis=1)
        watched = blocks.images(rng, rho, CALM + SHIFTED, streams).T
        for peer in PEERS:
            some = max(streams // 5, 2) if peer.name in SLOW else streams
            outcome = _peer(peer, rho, ours.false_alarms, base[:some], null[:some], watched[:some])
            found.append(outcome)
            say(f"AR(1) {rho:g}, {peer.name}: {outcome.false_alarms:.2f} per 10,000 images")
    samples = [{**vars(one), "delays": [[k, *v] for k, v in one.delays.items()]} for one in found]
    return samples, [_table(found, streams)], _goals(found)


def _ours(rho: float, streams: int, rng: np.random.Generator) -> tuple[Outcome, int]:
    """As many servers as there are streams, times 5: they cost little."""
    many = 5 * streams
    lengths, correlation = servers.piloted(rng, rho, many)
    base = blocks.draw(rng, rho, lengths, BASELINE_BLOCKS)
    per_side = 2 * PER_ALARM / float(np.median(lengths))
    charts = servers.calibrate(base, correlation, block_seconds=1.0, seconds_per_alarm=per_side)
    steps = int(PER_ALARM / np.median(lengths))
    count = servers.alarms(charts, blocks.draw(rng, rho, lengths, steps))
    images = float(np.sum(lengths) * steps)
    delays = {}
    for shift in SHIFTS:
        drawn = blocks.draw(rng, rho, lengths, int(np.ceil((CALM + SHIFTED) / lengths.min())))
        calm = int(CALM / lengths.min())
        after = drawn[calm:] + shift
        part = rng.uniform(0, 1, many)
        after[0] -= shift * part
        found = (servers.first_alarm(charts, drawn[:calm], after) - part) * lengths
        delays[shift] = (float(np.median(found)), float(np.mean(~(found <= SHIFTED))))
    rate = float(count.sum()) / images * 10_000
    return Outcome("Modelyard", rho, math.nan, rate, delays), int(np.median(lengths))


def _peer(
    peer: Peer, rho: float, rate: float, base: np.ndarray, null: np.ndarray, watched: np.ndarray
) -> Outcome:
    """With the most sensitive threshold that alarms at most as often as ours."""
    threshold, false = peer.thresholds[-1], math.nan
    for threshold in peer.thresholds:
        alarms = 0
        for b, values in zip(base, null, strict=True):
            alarms += len(peer.alarms(b, values, threshold))
            if alarms / null.size * 10_000 > rate:
                break
        false = alarms / null.size * 10_000
        if false <= rate:
            break
    delays = {}
    for shift in SHIFTS:
        found = []
        for b, values in zip(base, watched, strict=True):
            moved = values.copy()
            moved[CALM:] += shift
            later = [i for i in peer.alarms(b, moved, threshold) if i >= CALM]
            found.append(later[0] - CALM + 1 if later else math.inf)
        delays[shift] = (float(np.median(found)), float(np.mean(np.isinf(found))))
    return Outcome(peer.name, rho, float(threshold), false, delays)


def _table(found: list[Outcome], streams: int) -> Table:
    rows = []
    for one in found:
        shown = []
        for median, missed in one.delays.values():
            told = "not found" if math.isinf(median) else f"{median:,.0f}"
            shown.append(f"{told}, {missed:.0%} missed" if missed else told)
        limit = "its own" if math.isnan(one.threshold) else f"{one.threshold:.3g}"
        rows.append([one.detector, f"{one.rho:g}", limit, f"{one.false_alarms:.2f}", *shown])
    return Table(
        "Images until a shift is found, at equal false alarms",
        [
            "detector",
            "AR(1) of images",
            "threshold",
            "false alarms per 10,000 images",
            *(f"{shift:g} sd of an image" for shift in SHIFTS),
        ],
        rows,
        f"{streams} streams (KSWIN: a fifth, ours: five times as many), medians; a baseline of "
        f"{BASELINE_BLOCKS} blocks, one false alarm in {PER_ALARM:,} images declared. The others' "
        "thresholds are the most sensitive ones that alarm at most as often as ours did.",
    )


def _goals(found: list[Outcome]) -> list:
    ours = [one for one in found if one.detector == "Modelyard"]
    bound = 1.5 * 10_000 / PER_ALARM
    return [
        at_most(f"AR(1) {one.rho:g}: false alarms per 10,000 images", bound, one.false_alarms)
        for one in ours
    ]
