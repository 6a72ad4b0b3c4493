"""Draws one request per interval and source, uniformly, for the agent's monitoring.

`serving/draws.py` has the format of the files, and takes them. Runs inside Triton (`__init__.py`):
it may import numpy.

Each request gets a random number, and the one with the lowest of its interval and source is drawn:
any one with the same probability, however many come, and over how many processes they are spread
(bottom-k sampling with k = 1; Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC
2007). Of n requests of an interval about ln n are the lowest so far and are written; each replaces
the one before. Nothing is written while a request waits: that is a thread's work, and what its
short queue does not hold is not written. That is told by the interval's counts, so the agent takes
no other request in its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from modelyard.serving.models import copies, guard, spooling
from modelyard.signals.detections import top_score

FOLDER = ".drawn"
"""Added to a model line's name; no line's name has a dot."""
ASKED = "modelyard_draw"
"""Request parameter of the agent: the token that its own request is to have."""
MAX_SOURCE = 64
"""Characters of a source's name."""
MAX_SOURCES = 256
"""Most sources that are counted in an interval, whatever the agent asks for."""
_IDLE_SECONDS = 1.0
_QUEUE = 8
"""Most files that wait to be written."""
_EMBEDDING = 4096
"""Longest embedding that is written."""


class Writer:
    """Writes files in a thread of its own, in order. A full queue takes nothing more."""

    def __init__(self, idle: Callable[[], None] = lambda: None) -> None:
        """`idle` is called in the thread, every second without a file to write."""
        self._idle = idle
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUE)
        self._thread: threading.Thread | None = None

    def put(self, job: Callable[[], None]) -> bool:
        """Whether the job will be done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="drawing")
            self._thread.start()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def stop(self) -> None:
        """Ends once everything is written, or after a second."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._jobs.put(None, timeout=1)
            self._thread.join(1)

    def _run(self) -> None:
        job: Callable[[], None] | None = self._idle
        while job is not None:
            with contextlib.suppress(Exception):  # Nothing here may end a serving process.
                job()
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                job = self._idle


class Drawing:
    """The first step's side: which requests are drawn. Threads may share it."""

    def __init__(self, line: str, generation: str, check: guard.Guard) -> None:
        """`check` tells the agent's own requests."""
        self._folder = os.path.join(spooling.SPOOL, line + FOLDER)
        self._generation = generation
        self._guard = check
        self._lock = threading.Lock()
        self._writer = Writer(self._end)
        self._control: dict[str, Any] | None = None
        self._next_look = 0.0
        self._until = 0.0
        """End of the interval, in seconds of CLOCK_MONOTONIC; intervals are the same in all
        processes."""
        self._counts: dict[str, list[float]] = {}
        """Requests of each source in the interval, and their lowest number."""
        self._written: dict[str, str] = {}
        """File of the source's request that has the lowest number so far."""
        self._left_out = self._unnamed = 0

    def draw(self, token: int, image: bytes, size: tuple[int, int], parameters: str) -> int:
        """The request's token, which is `token` unless the request is drawn, or is the agent's own
        and brings one. `size` is height and width in pixels, `parameters` the request's, as JSON.
        Fails no request."""
        try:
            if ASKED in parameters and self._guard.proven(parameters):
                return int(json.loads(parameters)[ASKED], 16) << 2 | copies.DRAWN
            return self._draw(token, image, size, parameters)
        except Exception:
            self._control = None
            return token

    def stop(self) -> None:
        """Called when the model is unloaded."""
        self._writer.stop()

    def _draw(self, token: int, image: bytes, size: tuple[int, int], parameters: str) -> int:
        now = time.monotonic()
        with self._lock:
            if now >= self._next_look:
                self._look(now)
            control = self._control
            if control is None:
                return token
            if now >= self._until:
                self._close(now, float(control["interval"]))
            source = self._source(control, parameters, size)
            if source is None:
                return token
            count = self._counts.setdefault(source, [0, 2.0])
            count[0] += 1
            number = random.random()  # noqa: S311
            if number >= count[1]:
                return token
            count[1] = number
            token = (token or copies.new_token()) | copies.DRAWN
            self._keep(token, number, source, image, size)
            return token

    def _look(self, now: float) -> None:
        self._next_look = now + spooling.LOOK_SECONDS
        self._control = None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            self._control = spooling.read_control(self._folder, self._generation)

    def _source(
        self, control: dict[str, Any], parameters: str, size: tuple[int, int]
    ) -> str | None:
        """Name of the request's source; None if it is one too many."""
        name = ""
        if wanted := control["parameter"]:
            if wanted in parameters:
                with contextlib.suppress(ValueError, TypeError, AttributeError):
                    name = clean(json.loads(parameters).get(wanted, ""))
            self._unnamed += not name
        name = name or f"{size[1]}x{size[0]}"
        known = control["sources"]
        if name in known or name in self._counts:
            return name
        others = sum(one not in known for one in self._counts)
        if len(known) + others < min(int(control["max"]), MAX_SOURCES):
            return name
        self._left_out += 1
        return None

    def _keep(
        self, token: int, number: float, source: str, image: bytes, size: tuple[int, int]
    ) -> None:
        control = self._control or {}
        head = {
            "until": self._until, "number": number, "source": source, "time": time.time(),
            "generation": self._generation, "height": size[0], "width": size[1],
        }  # fmt: skip
        name = copies.file_name(token, "image")
        before = self._written.get(source)
        files, total = int(control["files"]), int(control["bytes"])

        def write() -> None:
            if before is not None:
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self._folder, before))
            if spooling.fits(self._folder, len(image), files, total):
                spooling.put(self._folder, name, copies.line(head), image)

        if self._writer.put(write):
            self._written[source] = name

    def _end(self) -> None:
        """Closes an interval after which no request came."""
        now = time.monotonic()
        with self._lock:
            if self._control is not None and now >= self._until:
                self._close(now, float(self._control["interval"]))

    def _close(self, now: float, interval: float) -> None:
        """Begins an interval, and tells what there was in the one before."""
        if self._counts or self._left_out:
            counts = {
                "until": self._until, "sources": self._counts,
                "leftOut": self._left_out, "unnamed": self._unnamed,
            }  # fmt: skip
            name = f"{os.getpid()}-{id(self):x}-{self._until:.3f}.counts"
            self._writer.put(lambda: spooling.put(self._folder, name, copies.line(counts)))
        self._counts, self._written = {}, {}
        self._left_out = self._unnamed = 0
        self._until = (now // interval + 1) * interval


class Answers:
    """The last step's side: the answers of drawn requests, with what only the network's output
    tells. Threads may share it."""

    def __init__(self, line: str, *, suppressed: bool) -> None:
        """`suppressed` as in the artifact's manifest."""
        self._folder = os.path.join(spooling.SPOOL, line + FOLDER)
        self._suppressed = suppressed
        self._writer = Writer()

    def write(
        self,
        token: int,
        version: int,
        milliseconds: float,
        found: tuple[np.ndarray, ...],
        raw: np.ndarray,
        embedding: np.ndarray | None = None,
    ) -> None:
        """Puts an answer (boxes, scores, classes) beside its image: a line of JSON, the arrays as
        in `copies.write_answer`, then the embedding as float16. `raw` is the network's output for
        the image. Fails no request."""
        with contextlib.suppress(Exception):
            seen = np.zeros(0) if embedding is None else embedding.reshape(-1)[:_EMBEDDING]
            head = {
                "version": version,
                "milliseconds": round(milliseconds, 3),
                "boxes": len(found[0]),
                "topScore": round(top_score(raw, suppressed=self._suppressed), 4),
                "embedding": len(seen),
            }
            # Copied now: the arrays may be the network's own memory, which the next image takes.
            parts = (copies.line(head), *copies.arrays(found), seen.astype("<f2").tobytes())
            name = copies.file_name(token, "answer")
            self._writer.put(lambda: spooling.put(self._folder, name, *parts))

    def stop(self) -> None:
        """Called when the model is unloaded."""
        self._writer.stop()


def clean(name: object) -> str:
    """A source's name as it may be kept and shown: a client chose it."""
    text = name if isinstance(name, str) else str(name) if isinstance(name, int) else ""
    return "".join(c for c in text.strip()[:MAX_SOURCE] if c.isprintable())
