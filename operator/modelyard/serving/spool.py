"""Copies of sampled requests and their responses, which Triton writes for the agent.

    <root>/digits/control.json      what to copy; written here, read by the pipeline's first step
    <root>/digits/TOKEN.image       an encoded image; written by the first step
    <root>/digits/TOKEN.answer      the serving version's answer; written by the last step
    <root>/digits/dropped           as many bytes as there were copies that did not fit

The folder is in memory that the containers of Triton and the agent share. Files are written under
another name and renamed, so they are always complete. The first step copies nothing unless
control.json exists, was touched in the last minute and names its own generation, and it keeps to
the limits in it; so a dead agent leaves few files and no load.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.contract import paths
from modelyard.serving import controlfile
from modelyard.serving.names import Generation

CONTROL = "control.json"
DROPPED = "dropped"
ORPHAN_SECONDS = 30.0
"""Age at which an image without a response, or an incomplete file, is removed: its request failed,
or Triton ended."""


@dataclass(frozen=True)
class Sample:
    """One copied request."""

    image: bytes
    """The image as it was sent: a JPEG, PNG, WebP or BMP file, or base64 text of one."""
    version: int
    """Version that answered."""
    milliseconds: float
    """How long the answer took."""
    boxes: np.ndarray
    """[N, 4] float32: x1, y1, x2, y2 in pixels of the image."""
    scores: np.ndarray
    """[N] float32, highest first."""
    classes: np.ndarray
    """[N] int32."""


class Spool:
    """The agent's side of one model line's copies."""

    def __init__(self, line: str, root: Path = paths.SPOOL) -> None:
        self._folder = root / line

    def control(
        self,
        share: float,
        generation: Generation,
        *,
        files: int = 32,
        size: int = 24 * 1024 * 1024,
    ) -> None:
        """Copy a share (0 to 1) of the requests of `generation`, starting within a second, with at
        most `files` images of `size` bytes in total at a time. Expires after a minute unless
        `take` or `control` is called again. Raises OSError."""
        wanted = {"generation": generation.name, "share": share, "files": files, "bytes": size}
        controlfile.write_control(self._folder, CONTROL, wanted)

    def off(self) -> None:
        """Stop copying, remove all copies, and reset the count of dropped ones."""
        controlfile.clear(self._folder, CONTROL)

    def take(self, limit: int = 8) -> list[Sample]:
        """Remove and return the oldest copies with a response, at most `limit`; remove those that
        will never get one."""
        controlfile.renew(self._folder, CONTROL)
        entries = sorted(self._entries())
        answers = [path for _, path in entries if path.suffix == ".answer"][:limit]
        samples = [sample for path in answers if (sample := self._take(path)) is not None]
        oldest = time.time() - ORPHAN_SECONDS
        for modified, path in entries:
            waiting = path.suffix == ".image" and not path.with_suffix(".answer").exists()
            if modified < oldest and (waiting or path.suffix == ".part"):
                path.unlink(missing_ok=True)
        return samples

    @property
    def dropped(self) -> int:
        """Number of copies that did not fit, since `off`."""
        try:
            return (self._folder / DROPPED).stat().st_size
        except FileNotFoundError:
            return 0

    def _entries(self) -> Iterator[tuple[float, Path]]:
        """Files with the times of their last change."""
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                yield path.stat().st_mtime, path

    def _take(self, answer: Path) -> Sample | None:
        image = answer.with_suffix(".image")
        try:
            return _sample(image.read_bytes(), answer.read_bytes())
        except (OSError, ValueError, KeyError):
            return None  # not of this format, or half of it is gone
        finally:
            answer.unlink(missing_ok=True)
            image.unlink(missing_ok=True)


def _sample(image: bytes, answer: bytes) -> Sample:
    line, _, arrays = answer.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    count = int(head["boxes"])
    if len(arrays) != 4 * count * 6:
        raise ValueError(f"{count} boxes take {4 * count * 6} bytes, not {len(arrays)}")
    numbers = np.frombuffer(arrays, "<f4", 5 * count)
    return Sample(
        image=image,
        version=int(head["version"]),
        milliseconds=float(head["milliseconds"]),
        boxes=numbers[: 4 * count].reshape(count, 4),
        scores=numbers[4 * count :],
        classes=np.frombuffer(arrays, "<i4", count, offset=4 * 5 * count),
    )
