"""Where a step's time goes: a stopwatch for the benchmark of serving. A part of every step.

Runs inside Triton's Python backend: it may import the standard library alone. Without the
environment variable MODELYARD_PROFILE nothing is measured or written, and a mark costs a call that
does nothing. With it, each process appends a line of JSON for each request to a file in that
folder; `tests/benchmarks/serving/profile.py` reads them beside Triton's own times.

    {"begin": 81234567890, "end": 81239567890, "images": 1, "laps": {"decode": 2100000, …}}

Times are nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

FOLDER_VARIABLE = "MODELYARD_PROFILE"
"""Names the folder that times are written to."""
OTHER = "other"
"""What no mark has named."""


class Recorder:
    """Measures nothing; what steps work with unless they are profiled."""

    def begin(self, images: int = 1) -> Recorder:
        """Starts the watch for the request or batch that begins now, of so many images."""
        return self

    def lap(self, name: str) -> None:
        """Counts the time since the last mark as that of `name`."""

    def end(self) -> None:
        """Counts the rest as OTHER, and writes the request down."""

    def close(self) -> None:
        """Called when the step is unloaded."""


class Writer(Recorder):
    """Writes the times of one process into a file of its own."""

    def __init__(self, folder: str, model: str) -> None:
        # By lines: a server that is killed loses nothing.
        path = os.path.join(folder, f"{model}.{os.getpid()}.jsonl")
        self._file: Any = open(path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115

    def begin(self, images: int = 1) -> Recorder:
        """A watch for the request or batch that begins now, of so many images."""
        return Watch(self._file, images)

    def close(self) -> None:
        """Called when the step is unloaded."""
        self._file.close()


class Watch(Recorder):
    """One request."""

    def __init__(self, file: Any, images: int) -> None:
        self._file, self._images = file, images
        self._laps: dict[str, int] = {}
        self._begin = self._last = time.monotonic_ns()

    def lap(self, name: str) -> None:
        """Counts the time since the last mark as that of `name`."""
        now = time.monotonic_ns()
        self._laps[name] = self._laps.get(name, 0) + now - self._last
        self._last = now

    def end(self) -> None:
        """Counts the rest as OTHER, and writes the request down."""
        self.lap(OTHER)
        line = {
            "begin": self._begin,
            "end": self._last,
            "images": self._images,
            "laps": self._laps,
        }
        self._file.write(json.dumps(line) + "\n")


def recorder(model: str) -> Recorder:
    """What the step `model` measures itself with."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return Recorder()
    try:
        return Writer(folder, model)
    except OSError:  # a profile is worth no request
        return Recorder()
