"""Requests that Triton drew for monitoring: one per interval and source, uniformly.

    <root>/digits.drawn/control.json   what to draw; written here, read by the pipeline's first step
    <root>/digits.drawn/NAME.image     a line of JSON (until, number, source, time, generation,
                                       height, width), then the encoded image
    <root>/digits.drawn/NAME.answer    a line of JSON (version, milliseconds, boxes, topScore,
                                       embedding), then boxes, scores, classes, embedding
    <root>/digits.drawn/ID.counts      of one process and interval: for each source its number of
                                       requests and the lowest of their random numbers

The folder is in memory that the containers of Triton and the agent share (a copy of a request must
not touch a disk). `until` is the end of the interval, in seconds of CLOCK_MONOTONIC, which is the
same in both containers. Who writes, and why the request with the lowest number is the one drawn:
models/drawing.py.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.contract import paths
from modelyard.serving import controlfile
from modelyard.serving.models.copies import file_name
from modelyard.serving.models.drawing import FOLDER
from modelyard.serving.models.spooling import CONTROL
from modelyard.serving.names import Generation

GRACE_SECONDS = 3.0
"""How long after an interval's end its answers and counts are waited for; the thread that writes
counts wakes up every second."""
ORPHAN_SECONDS = 10.0
"""Age at which what belongs to no image is removed: answers of superseded requests, halves."""
FILES = 64
BYTES = 24 * 1024 * 1024
"""Quota of the images that lie in the folder."""


@dataclass(frozen=True)
class Answer:
    """What a version answered to one image."""

    version: int
    milliseconds: float
    boxes: np.ndarray
    """[N, 4] float32: x1, y1, x2, y2 in pixels of the image."""
    scores: np.ndarray
    """[N] float32, highest first."""
    classes: np.ndarray
    """[N] int32."""
    top_score: float
    """Logit of the best raw score, before the confidence threshold."""
    embedding: np.ndarray | None
    """[size] float32; None if the artifact has none."""


@dataclass(frozen=True)
class Draw:
    """One request that was drawn."""

    image: bytes
    """The image as it was sent: a JPEG, PNG, WebP or BMP file, or base64 text of one."""
    source: str
    """Its camera: the request parameter, or the image's size as WIDTHxHEIGHT."""
    time: float
    """When it came in, seconds since 1970."""
    requests: int
    """Requests of the source in the interval, of which it is one drawn with equal probabilities:
    its inclusion probability is one in so many."""
    generation: str
    """Name of the generation that answered."""
    size: tuple[int, int]
    """Height and width of the image in pixels, turned upright."""
    answer: Answer


@dataclass
class Taken:
    """What came of the intervals that have ended."""

    draws: list[Draw] = field(default_factory=list)
    missed: int = 0
    """Sources and intervals whose drawn request is not there: it failed, or did not fit."""
    left_out: int = 0
    """Requests of sources beyond the maximum."""
    unnamed: int = 0
    """Requests without the parameter that names their source."""


class Draws:
    """The agent's side of one model line's drawn requests. Blocking calls."""

    def __init__(self, line: str, root: Path = paths.SPOOL) -> None:
        self._folder = root / (line + FOLDER)

    def control(
        self,
        generation: Generation,
        interval: float,
        *,
        parameter: str | None,
        sources: Collection[str],
        most: int,
        files: int = FILES,
        size: int = BYTES,
    ) -> None:
        """Draw one request of `generation` per interval in seconds and source, starting within a
        second; `sources` are known, others are new as long as there are at most `most`. Expires
        after a minute unless `take` or `control` is called again. Raises OSError."""
        wanted = {
            "generation": generation.name, "interval": interval, "parameter": parameter,
            "sources": sorted(sources), "max": most, "files": files, "bytes": size,
        }  # fmt: skip
        controlfile.write_control(self._folder, CONTROL, wanted)

    def off(self) -> None:
        """Stop drawing, and remove what was drawn."""
        controlfile.clear(self._folder, CONTROL)

    def take(self, now: float | None = None) -> Taken:
        """Remove and return what was drawn in the intervals that ended before `now`, which is in
        seconds of CLOCK_MONOTONIC. Raises OSError."""
        controlfile.renew(self._folder, CONTROL)
        ended = (time.monotonic() if now is None else now) - GRACE_SECONDS
        taken = Taken()
        counts: dict[tuple[float, str], tuple[int, float]] = defaultdict(lambda: (0, 2.0))
        images: dict[tuple[float, str], tuple[float, Path, dict[str, Any]]] = {}
        for path in self._paths(".counts"):
            if (found := _head(path)) and found["until"] <= ended:
                _add_counts(found, counts, taken)
                path.unlink(missing_ok=True)
        for path in self._paths(".image"):
            if not (found := _head(path)) or found["until"] > ended:
                continue
            key, one = (found["until"], found["source"]), (found["number"], path, found)
            if key in images:
                # Of another process, or superseded and about to be removed.
                one, other = sorted((one, images[key]), key=lambda each: each[0])
                self._remove(other[1])
            images[key] = one
        for key, (number, path, head) in images.items():
            requests, lowest = counts.get(key, (1, number))
            draw = _draw(path, head, requests) if number <= lowest else None
            self._remove(path)
            if draw is None:
                taken.missed += 1
            else:
                taken.draws.append(draw)
        taken.missed += sum(key not in images for key in counts)
        self._sweep()
        return taken

    def answer(self, token: int) -> Answer | None:
        """Remove and return the answer to a request of our own, which carried the token; None if
        it is not there (yet)."""
        path = self._folder / file_name(token << 2, "answer")
        try:
            content = path.read_bytes()
            path.unlink()
            return _answer(content)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _paths(self, ending: str) -> Iterator[Path]:
        if self._folder.is_dir():
            yield from (path for path in list(self._folder.iterdir()) if path.suffix == ending)

    def _remove(self, image: Path) -> None:
        image.unlink(missing_ok=True)
        image.with_suffix(".answer").unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Removes what belongs to nothing any more."""
        oldest = time.time() - ORPHAN_SECONDS
        for ending in (".answer", ".part", ".counts"):
            for path in self._paths(ending):
                with contextlib.suppress(FileNotFoundError):
                    lonely = not path.with_suffix(".image").exists()
                    if path.name != f"{CONTROL}.part" and lonely and path.stat().st_mtime < oldest:
                        path.unlink()


def _head(path: Path) -> dict[str, Any] | None:
    """The first line of a file; None if it is gone or of another format."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "until" in found else None


def _add_counts(
    found: dict[str, Any], counts: dict[tuple[float, str], tuple[int, float]], taken: Taken
) -> None:
    taken.left_out += found["leftOut"]
    taken.unnamed += found["unnamed"]
    for source, (requests, number) in found["sources"].items():
        key = found["until"], source
        so_far, lowest = counts[key]
        counts[key] = so_far + int(requests), min(lowest, number)


def _draw(path: Path, head: dict[str, Any], requests: int) -> Draw | None:
    try:
        content = path.read_bytes()
        return Draw(
            image=content[content.index(b"\n") + 1 :],
            source=head["source"],
            time=head["time"],
            requests=requests,
            generation=head["generation"],
            size=(head["height"], head["width"]),
            answer=_answer(path.with_suffix(".answer").read_bytes()),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _answer(content: bytes) -> Answer:
    line, _, arrays = content.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    count, size = int(head["boxes"]), int(head["embedding"])
    if len(arrays) != 24 * count + 2 * size:
        raise ValueError(f"{count} boxes and an embedding of {size} are not {len(arrays)} bytes")
    numbers = np.frombuffer(arrays, "<f4", 5 * count)
    seen = np.frombuffer(arrays, "<f2", size, offset=24 * count).astype(np.float32)
    return Answer(
        version=int(head["version"]),
        milliseconds=float(head["milliseconds"]),
        boxes=numbers[: 4 * count].reshape(count, 4),
        scores=numbers[4 * count :],
        classes=np.frombuffer(arrays, "<i4", count, offset=20 * count),
        top_score=float(head["topScore"]),
        embedding=seen if size else None,
    )
