"""Copies of sampled requests and their answers, for the agent (`serving/spool.py` has the format).

`Sampler` runs where the image arrives, `write_answer` where its boxes are known. Runs inside Triton
(`__init__.py`): it may import numpy.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Mapping

import numpy as np

from modelyard.serving.models import spooling
from modelyard.serving.models.spooling import CONTROL_SECONDS, LOOK_SECONDS, SPOOL

__all__ = ["CONTROL_SECONDS", "COPIED", "DRAWN", "SPOOL", "Sampler", "file_name", "write_answer"]

COPIED, DRAWN = 1, 2
"""Bits of a token: the request was copied (here), or drawn (drawing.py). One that is neither has
the token 0."""


def new_token() -> int:
    """A random token without either bit."""
    return random.getrandbits(60) << 2


def file_name(token: int, ending: str) -> str:
    """Name of a request's file."""
    return f"{token >> 2:016x}.{ending}"


class Sampler:
    """Copies a share of the images into the spool, for the agent.

    The agent asks for it by a control file in the model line's folder (`serving/spool.py` has the
    format); without it nothing is copied. The file names the generation whose requests are meant,
    so that the agent's own requests to another one are not copied. An image lies there as
    NAME.image; the last step adds NAME.answer. Whatever goes wrong here is counted as a dropped
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
        token = new_token() | COPIED
        try:
            if not spooling.fits(self._folder, len(image), self._files, self._bytes):
                raise OSError("full")
            spooling.put(self._folder, file_name(token, "image"), image)
        except OSError:
            self._count_drop()
            return 0
        return token

    def _look(self) -> None:
        self._share = 0.0
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            control = spooling.read_control(self._folder, self._generation)
            if control is not None:
                self._files, self._bytes = int(control["files"]), int(control["bytes"])
                self._share = float(control["share"])

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
    head = {"version": version, "milliseconds": round(milliseconds, 3), "boxes": len(found[0])}
    with contextlib.suppress(OSError):
        spooling.put(folder, file_name(token, "answer"), line(head), *arrays(found))


def line(head: Mapping[str, object]) -> bytes:
    """The first line of a file."""
    return json.dumps(head).encode() + b"\n"


def arrays(found: tuple[np.ndarray, ...]) -> tuple[bytes, bytes, bytes]:
    """Boxes, scores and classes as they lie in an answer."""
    boxes, scores, classes = found
    return (
        boxes.astype("<f4").tobytes(),
        scores.astype("<f4").tobytes(),
        (classes.astype("<i4").tobytes()),
    )
