"""Refuses what clients may not ask of a pipeline's steps.

Runs inside Triton (`__init__.py`): it may import numpy, nothing of ours.

Clients can call any model in Triton by its name, over HTTP and gRPC, and Triton knows no model that
only an ensemble may use. An ensemble adds nothing to a request that a client could not send
itself, so a step cannot tell who calls it. Two checks with the pod's control key
(`contract/control.py`) make calls of the steps useless instead; each costs microseconds:

- `Guard`: while the public name does not lead to a generation, its first step answers the agent
  alone, whose requests carry a proof. So nobody reaches a version that is only tried or prepared.
- `seal` and `Frames`: of three steps, the last one answers and counts only what carries a frame
  that the first one has signed, and each frame once. So no made-up size, time or token gets into
  the figures or the spool.

docs/adr/0007-steps-guard-themselves.md says what a client can still do with the steps of the
version that serves.
"""

from __future__ import annotations

import hmac
import json
import os
import struct
import time

import numpy as np

KEY_FILE = os.environ.get("MODELYARD_CONTROL_KEY_FILE", "/run/modelyard/control/key")
"""The pod's control key."""
PROOF = "modelyard_proof"
"""Request parameter with the agent's proof."""
REFUSED = "modelyard_refused_total"
REFUSED_TEXT = "Requests that clients may not make"
"""Name and description of the counter of refusals."""
SIGNED_BYTES = 40
FRAME_SECONDS = 120.0
"""How old a frame may be: more than clients wait, so that a frame kept back says little of
latency."""
RESTART_SECONDS = 10.0
"""How much older than this process: requests that were under way when it was started again."""
MAX_FRAMES = 65_536
"""Most frames that are remembered: many times what can be under way."""


class RefusedError(ValueError):
    """Clients may not make this request; the message says what to do."""


class Guard:
    """Who may call a generation: everybody once the public name leads to it, else the agent."""

    def __init__(self, key: bytes, line: str, generation: str, repository: str) -> None:
        """`repository` is the folder with Triton's models, which only the agent writes."""
        self._line = line
        self._generation = generation
        # As `proof` in contract/control.py.
        self._proof = hmac.digest(key, f"generation {generation}".encode(), "sha256").hex()
        self._public = os.path.join(repository, line, "config.pbtxt")
        self._offered = os.path.join(repository, offered_file(line))
        self._open = False

    def check(self, parameters: str) -> None:
        """Raises RefusedError. `parameters` are the request's, as JSON."""
        # Stays open: a version that was public is unloaded once its requests are answered.
        if self._open or self.proven(parameters):
            return
        self._open = self._is_public()
        if not self._open:
            raise RefusedError(
                f"{self._generation} is not offered to clients: send requests to {self._line}"
            )

    def proven(self, parameters: str) -> bool:
        """Whether a request is the agent's own. `parameters` are the request's, as JSON."""
        try:
            given = json.loads(parameters)[PROOF]
            return hmac.compare_digest(given.encode(), self._proof.encode())
        except (ValueError, KeyError, TypeError, AttributeError):
            return False

    def _is_public(self) -> bool:
        # The agent writes it before Triton loads it, so the first public request finds it; and
        # where the names lead elsewhere already, it has left a note about this one.
        public = _text(self._public)
        steps = (f'"{self._generation}-{step}"' for step in ("pipeline", "preprocess"))
        return any(step in public for step in steps) or (
            self._generation in _text(self._offered).split()
        )


def offered_file(line: str) -> str:
    """Name of the file, in Triton's model repository, with the generations that the public name
    of a model line led to before."""
    return f".{line}.offered"


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def frame_key(key: bytes, generation: str) -> bytes:
    """Key that signs the frames of a generation."""
    return hmac.digest(key, f"frame {generation}".encode(), "sha256")


def seal(key: bytes, height: int, width: int, started: int, token: int) -> np.ndarray:
    """A signed frame, int64 [1, 7]: the four values, a random number, and half an HMAC-SHA256
    (RFC 2104, section 5). `key` is that of `frame_key`."""
    signed = struct.pack("<4q", height, width, started, token) + os.urandom(8)
    tag = hmac.digest(key, signed, "sha256")[:16]
    return np.frombuffer(signed + tag, "<i8").reshape(1, 7)


class Frames:
    """Accepts what the generation's first step has signed, each frame once."""

    def __init__(self, key: bytes) -> None:
        """`key` is that of `frame_key`."""
        self._key = key
        self._seen: dict[int, int] = {}
        """Random numbers of accepted frames, oldest first, and when their requests came in."""
        self._oldest = time.monotonic_ns() - int(RESTART_SECONDS * 1e9)
        """Frames from before may have been accepted already."""

    def open(self, frame: np.ndarray) -> tuple[int, int, int, int]:
        """Height, width, time and token of a frame, int64 [7]. Raises RefusedError."""
        content = frame.astype("<i8", copy=False).tobytes()
        signed, tag = content[:SIGNED_BYTES], content[SIGNED_BYTES:]
        right = hmac.digest(self._key, signed, "sha256")[:16]
        height, width, started, token, number = struct.unpack("<5q", signed)
        if not hmac.compare_digest(tag, right) or number in self._seen:
            raise RefusedError("frame is not the pipeline's own: send images to the public name")
        age = time.monotonic_ns() - started
        if started < self._oldest or age > FRAME_SECONDS * 1e9:
            raise RefusedError(f"frame is {age / 1e9:.0f} s old: send the image again")
        self._seen[number] = started
        if len(self._seen) > MAX_FRAMES:
            first = next(iter(self._seen))
            self._oldest = max(self._oldest, self._seen.pop(first) + 1)
        return height, width, started, token


def read_key() -> bytes:
    """The pod's control key. Raises RuntimeError: without it nothing is loaded."""
    try:
        with open(KEY_FILE, "rb") as file:
            key = file.read().strip()
    except OSError as error:
        raise RuntimeError(f"no control key: {error}") from error
    if not key:
        raise RuntimeError(f"no control key: {KEY_FILE} is empty")
    return key
