"""(d) Changes of what a camera sees, on scenes of digits: which signal finds them, and how soon.

Each server is a camera that draws its images from the same scenes. Blocks, references, distances,
baselines and thresholds are the product's own code (`drift.blocks.Block`, `drift.baseline`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from modelyard.drift.blocks import Block, Embedder, Reference
from modelyard.drift.cusum import neighbours
from modelyard.drift.line import REFERENCE_SHARE
from modelyard.drift.series import pack, unpack
from modelyard.drift.signals import ALARMS, SIGNALS, Signal

from ..report import Result, Say, Table, at_least, at_most
from . import detector, servers
from .detector import Detector, Figures

IMAGES = servers.SETTINGS.block_images
BASELINE = 400
UNCHANGED, CHANGED = 200, 60
"""Blocks that are watched."""
POOL, POOL_CHANGED = 1500, 500
PER_SIDE = servers.RUN_LENGTH * len(ALARMS) * 2


def _darker(picture: np.ndarray) -> np.ndarray:
    return (picture * 0.7).astype(np.uint8)


def _blurred(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), 2.0)


def _noisy(picture: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(int(picture.sum()))
    return np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)


def _inverted(picture: np.ndarray) -> np.ndarray:
    return 255 - picture


_KNOWN = np.array([1.0] * 9 + [0.0])
_TILTED = np.array([*np.linspace(2, 0, 9), 0.0])
_THRICE = np.array([3.0] + [1.0] * 8 + [0.0])
_NEW = np.array([1.0] * 9 + [2.25])
"""A fifth of the digits are nines."""
LOOKS = {
    "darker by 30 %": _darker,
    "blurred, sigma 2 px": _blurred,
    "noise, sd 20 of 255": _noisy,
    "inverted colours": _inverted,
}
MIXES = {
    "a new class: a fifth are nines": _NEW,
    "a class's share is tripled": _THRICE,
    "label shift: shares fall from 0 to 8": _TILTED,
}


@dataclass(frozen=True)
class Camera:
    """A server with its charts, calibrated."""

    embedder: Embedder
    reference: Reference
    columns: tuple[Signal, ...]


@dataclass(frozen=True)
class Delay:
    """Of one change."""

    change: str
    images: float
    """Median over servers until the first alarm of any signal."""
    late: float
    found: float
    first: dict[str, float]
    """Share of servers in which a signal alarmed first or at the same block."""
    single: dict[str, float]
    """Median images of each signal alone; infinity for none."""


def measure(count: int, seed: int, say: Say) -> Result:
    """All changes, on so many servers."""
    model = Detector(1500, seed)
    accuracy = model.accuracy(200, seed)
    say(f"the detector tells {accuracy:.1%} of the quarters rightly")
    usual = model.figures(detector.drawn(_KNOWN, POOL, (seed, 20)))
    changes = _changes(model, seed)
    say("all scenes are drawn")
    calm = np.zeros(count, dtype=bool)
    found: dict[str, list[dict[Signal, float]]] = {name: [] for name in changes}
    for server in range(count):
        rng = np.random.default_rng((seed, 30, server))
        camera, base = _calibrated(usual, rng)
        charts = _charts(base, camera.columns)
        quiet = _values(usual, camera, UNCHANGED, rng)
        calm[server] = bool(np.any(servers.alarms(charts, quiet)))
        for name, figures in changes.items():
            after = _values(figures, camera, CHANGED, rng)
            steps = servers.first_alarm(charts, quiet[-20:], after) * IMAGES
            found[name].append(dict(zip(camera.columns, steps, strict=True)))
    delays = [_delay(name, many) for name, many in found.items()]
    for one in delays:
        say(f"{one.change}: {one.images:.0f} images")
    return [vars(one) for one in delays], *_report(delays, float(calm.mean()), count, accuracy)


def _changes(model: Detector, seed: int) -> dict[str, Figures]:
    plain = detector.drawn(_KNOWN, POOL_CHANGED, (seed, 21))
    found = {name: model.figures([look(one) for one in plain]) for name, look in LOOKS.items()}
    for number, (name, mix) in enumerate(MIXES.items()):
        made = detector.drawn(mix, POOL_CHANGED, (seed, 22 + number))
        found[name] = model.figures(made)
    return found


def _calibrated(usual: Figures, rng: np.random.Generator) -> tuple[Camera, np.ndarray]:
    pilot = usual.projections[rng.integers(0, len(usual.projections), 128)]
    embedder = Embedder.of(pilot)
    rough = Camera(embedder, Reference(), SIGNALS)
    parts = _blocks(usual, rough, int(BASELINE * REFERENCE_SHARE), rng)
    classes = np.sum([one.classes for one in parts], axis=0)
    features = np.sum([unpack(one.features) for one in parts], axis=0)
    images = sum(one.embedded for one in parts)
    reference = Reference(
        tuple(float(share) for share in classes / classes.sum()), pack(features / images)
    )
    camera = Camera(embedder, reference, ALARMS)
    return camera, _values(usual, camera, BASELINE, rng)


def _charts(base: np.ndarray, columns: tuple[Signal, ...]) -> servers.Charts:
    return servers.calibrate(
        base, np.full(len(columns), neighbours(IMAGES, 1.0)), seconds_per_alarm=PER_SIDE
    )


def _values(figures: Figures, camera: Camera, count: int, rng: np.random.Generator) -> np.ndarray:
    """[blocks, signals]."""
    rows = []
    for one in _blocks(figures, camera, count, rng):
        values = one.values(camera.reference)
        rows.append([values.get(signal, np.nan) for signal in camera.columns])
    return np.array(rows)


def _blocks(figures: Figures, camera: Camera, count: int, rng: np.random.Generator) -> list[Block]:
    """Blocks of images that are drawn from these, by the sums that `Block.with_image` keeps."""
    picked = rng.integers(0, len(figures.plain), (count, IMAGES))
    plain = figures.plain[picked]
    known = np.isfinite(plain)
    sums, counts = np.where(known, plain, 0).sum(axis=1), known.sum(axis=1)
    classes = figures.classes[picked].sum(axis=1)
    features = camera.embedder.features_of(figures.projections)[picked].sum(axis=1)
    return [
        Block(
            start=0.0,
            last=servers.BLOCK_SECONDS,
            images=IMAGES,
            sums=tuple(sums[i]),
            counts=tuple(counts[i]),
            classes=tuple(classes[i]),
            features=pack(features[i]),
            embedded=IMAGES,
        )
        for i in range(count)
    ]


def _delay(change: str, many: list[dict[Signal, float]]) -> Delay:
    firsts = np.array([min(one.values()) for one in many])
    single = {signal: np.array([one[signal] for one in many]) for signal in many[0]}
    return Delay(
        change=change,
        images=float(np.median(firsts)),
        late=float(np.quantile(firsts, 0.9)),
        found=float(np.mean(np.isfinite(firsts))),
        first={str(s): float(np.mean((d == firsts) & np.isfinite(d))) for s, d in single.items()},
        single={str(s): float(np.median(d)) for s, d in single.items()},
    )


def _report(
    delays: list[Delay], calm: float, count: int, accuracy: float
) -> tuple[list[Table], list]:
    rows = [
        [
            one.change,
            f"{one.images:,.0f} ({one.late:,.0f})"
            if one.found >= 0.9
            else f"found {one.found:.0%}",
            *("" if np.isinf(d) else f"{d:,.0f}" for d in one.single.values()),
        ]
        for one in delays
    ]
    table = Table(
        "Images until a change is found",
        ["change", "any signal: median (90 %)", *(f"{s} alone" for s in ALARMS)],
        rows,
        f"{count} cameras, baseline of {BASELINE} blocks of {IMAGES} images, declared one false "
        f"alarm of all {len(ALARMS)} signals in 90 days; empty: not within {CHANGED * IMAGES:,} "
        f"images by half of the cameras. Without a change {calm:.1%} alarmed in {UNCHANGED} "
        f"blocks. The detector tells {accuracy:.0%} of the quarters of scenes rightly.",
    )
    goals = [at_least(f"{one.change}: found", 0.9, one.found) for one in delays]
    goals.append(at_most("alarmed without a change", 0.05, calm))
    return [table], goals
