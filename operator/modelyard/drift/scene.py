"""What is the matter with the camera, rather than with what it sees: dark, moved, silent.

None of this is drift, and no training helps: a person has to look. Windows are hours by default: 12
of the shortest blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from modelyard.drift.observation import Observation
from modelyard.drift.series import add, unpack
from modelyard.drift.settings import DAY, HOUR, DriftSettings

BLOCKS = 12
"""Blocks in a window."""
FEWEST = 10
"""Images without which a window says nothing."""
SILENT_BLOCKS = 288
"""A source that has closed no block for the time of so many, a day by default, is too quiet."""
REFERENCE, LEARNING = 6, 18
"""Windows of which the layout is taken, and windows that show how it varies: a day by default."""
MOVED_WINDOWS = 3
"""Windows in a row that must differ."""
SMALLEST_DISTANCE = 0.12
"""1 - cosine of two layouts of one scene stays below 0.1; a camera turned by 25 degrees, or moved
by 20 %, is above 0.15 (tests/unit/signals)."""
UNSTABLE = 0.25
"""A scene that varies by more has no layout."""


@dataclass(frozen=True)
class Scene:
    """Of one source."""

    start: float = 0.0
    """When the open window began."""
    images: int = 0
    blank: int = 0
    layout: bytes = b""
    """Sum of the window's layouts."""
    seen: tuple[int, ...] = (0,) * 24
    """Images by hour of the day (UTC), while the baseline was taken."""
    unseen: tuple[int, ...] = (0,) * 24
    """Blank ones among them."""
    reference: bytes = b""
    """Sum of the layouts of the first windows."""
    windows: int = 0
    """Windows with a layout so far, up to REFERENCE + LEARNING."""
    largest: float = 0.0
    """Largest distance from the reference while learning."""
    different: int = 0
    """Windows in a row that differed."""
    distance: float = 0.0
    """Of the last window."""
    dark_since: float = 0.0
    dark_share: float = 0.0
    moved_since: float = 0.0

    def with_image(self, image: Observation, settings: DriftSettings, learning: bool) -> Scene:
        """With one more image; `learning`: usual hours are being learned."""
        scene = self
        if not scene.start:
            scene = replace(scene, start=image.time)
        if image.time - scene.start >= window(settings) or image.time < scene.start:
            scene = replace(
                scene._closed(settings), start=image.time, images=0, blank=0, layout=b""
            )
        if learning:
            hour = int(image.time % DAY // HOUR)
            scene = replace(
                scene,
                seen=_count(scene.seen, hour, 1),
                unseen=_count(scene.unseen, hour, int(image.blank)),
            )
        scene = replace(scene, images=scene.images + 1, blank=scene.blank + image.blank)
        if image.layout and not image.blank and all(map(math.isfinite, image.layout)):
            layout = add(scene.layout, np.asarray(image.layout, dtype=np.float64))
            scene = replace(scene, layout=layout)
        return scene._judged(image.time, settings)

    def _judged(self, now: float, settings: DriftSettings) -> Scene:
        """Dark as soon as over half of the images that a window can have are blank."""
        most = max(window(settings) / settings.sample, FEWEST)
        share = self.blank / max(self.images, 1)
        if self.dark_since or self.blank <= most / 2 or share <= 0.5 or not self._is_open(now):
            return self
        return replace(self, dark_since=now, dark_share=share)

    def _closed(self, settings: DriftSettings) -> Scene:
        scene = self
        if self.images >= FEWEST:
            share = self.blank / self.images
            dark = share > 0.5 and self._is_open(self.start)
            since = (self.dark_since or self.start + window(settings)) if dark else 0.0
            scene = replace(scene, dark_since=since, dark_share=share if dark else 0.0)
        return scene._compared(settings) if self.images - self.blank >= FEWEST else scene

    def _is_open(self, now: float) -> bool:
        """Whether images are usual at this hour: at night many cameras are dark."""
        hour = int(now % DAY // HOUR)
        return 2 * self.unseen[hour] <= self.seen[hour]

    def _compared(self, settings: DriftSettings) -> Scene:
        if not self.layout:
            return self
        mean = unpack(self.layout)
        length = float(np.linalg.norm(mean))
        if length <= 0:
            return self
        unit = mean / length
        if self.windows < REFERENCE:
            return replace(self, reference=add(self.reference, unit), windows=self.windows + 1)
        reference = unpack(self.reference)
        if reference.size != unit.size:
            return replace(self, reference=b"", windows=0, largest=0.0, different=0)
        distance = 1 - float(unit @ reference) / max(float(np.linalg.norm(reference)), 1e-9)
        if self.windows < REFERENCE + LEARNING:
            largest = max(self.largest, distance)
            return replace(self, largest=largest, windows=self.windows + 1, distance=distance)
        differs = self.largest <= UNSTABLE and distance > max(SMALLEST_DISTANCE, 1.5 * self.largest)
        different = self.different + 1 if differs else 0
        since = self.moved_since
        if different >= MOVED_WINDOWS and not since:
            since = self.start - (MOVED_WINDOWS - 1) * window(settings)
        return replace(
            self, different=different, distance=distance, moved_since=since if different else 0.0
        )

    def accepted(self) -> Scene:
        """The layout is learned anew."""
        return replace(
            self, reference=b"", windows=0, largest=0.0, different=0, distance=0.0, moved_since=0.0
        )


def window(settings: DriftSettings) -> float:
    """Length of a window, s: an hour by default."""
    return BLOCKS * settings.block_interval


def _count(counts: tuple[int, ...], hour: int, more: int) -> tuple[int, ...]:
    return (*counts[:hour], counts[hour] + more, *counts[hour + 1 :])
