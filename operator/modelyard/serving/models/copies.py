"""Copies of sampled requests and their answers, for the agent (`serving/spool.py` has the format).

`Sampler` runs where the image arrives, `write_answer` where its boxes are known. Runs inside Triton
(`__init__.py`): it may import numpy.
"""

from __future__ import annotations

import json
import os
import random
import time

import numpy as np

SPOOL = os.environ.get("MODELYARD_SPOOL", "/spool")
"""Folder that is shared with the agent."""
CONTROL = "control.json"
LOOK_SECONDS = 1.0
"""How often the control file is looked at."""
CONTROL_SECONDS = 60.0
"""A control file that its writer has not touched for so long says nothing: nobody would read."""


class Sampler:
    """Copies a share of the images into the spool, for the agent.

    The agent asks for it by a control file in the model line's folder (`serving/spool.py` has the
    format); without it nothing is copied. The file names the generation whose requests are meant,
    so that the agent's own requests to another one are not copied. An image lies there as
    TOKEN.image; the last step adds TOKEN.answer. Whatever goes wrong here is counted as a dropped
    copy and never fails a request.
    """

    def __init__(self, folder: str, generation: str) -> None:
        self._folder = folder
        self._generation = generation
        self._share = 0.0
        self._files = self._bytes = 0
        self._next_look = 0.0

    def sample(self, image: bytes) -> int:
        """Token of the image's copy; 0 if none was made."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look()
        if not self._share or random.random() >= self._share:  # noqa: S311
            return 0
        token = random.getrandbits(62) | 1
        try:
            if not self._fits(len(image)):
                raise OSError("full")
            path = os.path.join(self._folder, f"{token:016x}.image")
            with open(path + ".part", "wb") as file:
                file.write(image)
            os.rename(path + ".part", path)
        except OSError:
            self._count_drop()
            return 0
        return token

    def _look(self) -> None:
        try:
            path = os.path.join(self._folder, CONTROL)
            if time.time() - os.stat(path).st_mtime > CONTROL_SECONDS:
                raise ValueError("left behind")
            with open(path, "rb") as file:
                control = json.load(file)
            self._files, self._bytes = int(control["files"]), int(control["bytes"])
            mine = control["generation"] == self._generation
            self._share = float(control["share"]) if mine else 0.0
        except (OSError, ValueError, KeyError, TypeError):
            self._share = 0.0

    def _fits(self, size: int) -> bool:
        files = used = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if ".image" in entry.name:
                    files, used = files + 1, used + entry.stat().st_size
        return files < self._files and used + size <= self._bytes

    def _count_drop(self) -> None:
        """The file's size is the number of drops: an append of one byte needs no lock between
        processes."""
        try:
            with open(os.path.join(self._folder, "dropped"), "ab") as file:
                file.write(b".")
        except OSError:
            self._share = 0.0  # not even that fits, or the folder is gone


def write_answer(
    folder: str, token: int, version: int, milliseconds: float, found: tuple[np.ndarray, ...]
) -> None:
    """Puts the answer (boxes, scores, classes) of a copied request beside its image: a line of
    JSON, then the arrays as little-endian float32, float32 and int32. Fails no request: without
    an answer the copy is dropped."""
    boxes, scores, classes = found
    head = {"version": version, "milliseconds": round(milliseconds, 3), "boxes": len(boxes)}
    path = os.path.join(folder, f"{token:016x}.answer")
    try:
        with open(path + ".part", "wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.write(boxes.astype("<f4").tobytes() + scores.astype("<f4").tobytes())
            file.write(classes.astype("<i4").tobytes())
        os.rename(path + ".part", path)
    except OSError:
        pass
