"""Streams of observations: a camera whose figures are drawn, and may change."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from modelyard.drift import monitor
from modelyard.drift.findings import Event, Finding, Kind
from modelyard.drift.observation import Observation, Tick
from modelyard.drift.settings import DAY, DriftSettings
from modelyard.drift.signals import CLASSES

START = 20_000 * DAY
"""A midnight."""
QUICK = DriftSettings(
    sample=1.0,
    block_duration=10.0,
    block_images=10,
    baseline_days=0,
    baseline_blocks=60,
    expected_run_length=30 * DAY,
    hold=600.0,
)
"""A baseline in about 13 minutes of images."""
MIX = np.array([0.4, 0.3, 0.2, 0.1] + [0.0] * (CLASSES - 4))


class Camera:
    """Draws observations, one a `sample` from START on; `change` moves what is drawn."""

    def __init__(self, name: str = "north", seed: int = 0, settings: DriftSettings = QUICK) -> None:
        self.name, self.settings, self.seed = name, settings, seed
        self.time = START
        self.artifact = "sha256:1"
        self.top = 2.0
        self.boxes = 4.0
        self.mix = MIX
        self.brightness = 0.4
        self.embedding = 0.0
        self.blank = False
        self.layout = _layout(1)
        self._rng = np.random.default_rng(seed)

    def take(self, count: int) -> Iterator[Observation]:
        """The next images."""
        for _ in range(count):
            self.time += self.settings.sample
            yield self._one()

    def _one(self) -> Observation:
        rng = self._rng
        boxes = int(rng.poisson(self.boxes))
        projection = rng.normal(0, 1, 32) + self.embedding
        layout = self.layout + np.abs(rng.normal(0, 0.01, len(self.layout)))
        return Observation(
            time=self.time,
            source=self.name,
            artifact=self.artifact,
            top_score=float(rng.normal(self.top, 1)),
            detections=boxes,
            classes=tuple(int(n) for n in rng.multinomial(boxes, self.mix)),
            box_area=float(rng.uniform(0.01, 0.1)) if boxes else None,
            brightness=float(rng.normal(self.brightness, 0.05)),
            contrast=float(rng.normal(0.2, 0.02)),
            sharpness=float(rng.normal(6, 0.3)),
            colourfulness=float(rng.normal(30, 4)),
            blank=self.blank,
            projection=tuple(float(v) for v in projection),
            layout=tuple(float(v) for v in layout / np.linalg.norm(layout)),
        )


def _layout(seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).random(64) ** 4
    return drawn / np.linalg.norm(drawn)


def other_layout() -> np.ndarray:
    return _layout(2)


class Played:
    """A monitor that is fed, with all events."""

    def __init__(self, settings: DriftSettings = QUICK) -> None:
        self.settings = settings
        self.state = monitor.initial()
        self.events: list[Event] = []

    def feed(self, events: Sequence[Observation | Tick] | Iterator[Observation]) -> Played:
        for event in events:
            self.state, found = monitor.step(self.state, event, self.settings)
            self.events += found
        return self

    def restart(self) -> Played:
        """The state as it is after it was written and read."""
        text = json.dumps(monitor.to_json(self.state), allow_nan=False)
        self.state = monitor.from_json(json.loads(text))
        return self

    def tick(self, seconds: float, synchronised: bool = True) -> Played:
        return self.feed([Tick(self.state.now + seconds, synchronised)])

    def findings(self, kind: Kind) -> list[Finding]:
        return [one for one in monitor.findings(self.state) if one.kind is kind]


def calibrated(camera: Camera, settings: DriftSettings = QUICK) -> Played:
    """A monitor with a baseline of this camera, which has taken no image yet."""
    assert camera.time == START
    key = (settings, camera.seed, camera.settings)
    if key not in _CALIBRATED:
        fresh = Camera(camera.name, camera.seed, camera.settings)
        _CALIBRATED[key] = (fresh, _with_baseline(fresh, settings))
    taken, played = copy.deepcopy(_CALIBRATED[key])
    camera.__dict__.update(taken.__dict__)
    return played


_CALIBRATED: dict[object, tuple[Camera, Played]] = {}
"""Taking a baseline costs a second."""


def _with_baseline(camera: Camera, settings: DriftSettings) -> Played:
    played = Played(settings)
    for _ in range(100):
        played.feed(camera.take(100))
        if all(
            line.baseline is not None
            for source in played.state.sources.values()
            for line in (source.model, source.pixels)
        ):
            return played
    raise AssertionError("no baseline")


def quick(**changes: object) -> DriftSettings:
    return replace(QUICK, **changes)  # type: ignore[arg-type]
