"""A server's capture with everything played but the disk."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from modelyard.api.monitoring import Redaction, ServerCapture
from modelyard.contract.capture import Captured, CaptureReason, unpack
from modelyard.workloads.agent.capture.capturer import Capturer
from modelyard.workloads.agent.capture.network import Boxes, NetworkError
from modelyard.workloads.agent.capture.offers import Identity, Offered, Serving
from modelyard.workloads.agent.capture.redaction import Redactor
from modelyard.workloads.agent.capture.spool import QUOTA_BYTES, CaptureSpool
from modelyard.workloads.agent.capture.uploading import Uploader, UploadError

MIDNIGHT = 1_795_824_000.0
"""2026-11-28, 00:00 UTC."""
NONE = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
WITHOUT = Redaction(faces=False)


def jpeg(seed: int = 0, size: tuple[int, int] = (48, 64)) -> bytes:
    """A picture that looks like no other."""
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def offered(time: float, image: bytes | None = None, **changes: Any) -> Offered:
    values: dict[str, Any] = {
        "image": image if image is not None else jpeg(),
        "version": 1,
        "boxes": np.array([[4, 4, 20, 20]], np.float32),
        "scores": np.array([0.9], np.float32),
        "classes": np.array([0], np.int32),
        "time": time,
        "source": "door",
        "requests": 300,
    }
    return Offered(**values | changes)


@dataclass
class PlayedNetwork:
    """Answers what it is told."""

    answers: list[Boxes | Exception] = field(default_factory=list)
    asked: list[tuple[np.ndarray, float]] = field(default_factory=list)

    async def boxes(self, image: np.ndarray, confidence: float) -> Boxes:
        self.asked.append((image, confidence))
        found = self.answers.pop(0) if self.answers else NetworkError("nobody answers")
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class PlayedFaces:
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    error: Exception | None = None

    def find(self, image: np.ndarray) -> np.ndarray:
        if self.error:
            raise self.error
        return self.boxes


@dataclass
class PlayedIntake:
    """A store that takes each name once."""

    up: bool = True
    files: dict[str, bytes] = field(default_factory=dict)

    async def reachable(self) -> bool:
        return self.up

    async def store(self, path: Path) -> None:
        if not self.up:
            raise UploadError("Unreachable: no network")
        self.files.setdefault(path.name, path.read_bytes())  # noqa: ASYNC240

    def captures(self, reason: CaptureReason | None = None) -> list[Captured]:
        found = [one for data in self.files.values() for one in unpack(data)]
        return [one for one in found if reason in (None, one.record.reason)]


class Site:
    """One server; `restart` is a kill of its agent."""

    def __init__(self, folder: Path, *, durable: bool = True, quota: int = QUOTA_BYTES) -> None:
        self.folder = folder
        self.durable, self.quota = durable, quota
        self.now = MIDNIGHT
        self.settings: ServerCapture | None = ServerCapture(redact=WITHOUT)
        self.serving: Serving | None = Serving(
            "shelf-1", 1, f"sha256:{'a' * 64}", ("can", "person")
        )
        self.network, self.faces, self.intake = PlayedNetwork(), PlayedFaces(), PlayedIntake()
        self.chance = random.Random(7)
        self.restart()

    def restart(self) -> None:
        self.spool = CaptureSpool(self.folder, self.quota)
        self.uploader = Uploader(
            self.spool, self.intake, server="shelf-a", durable=self.durable, clock=lambda: self.now
        )
        self.capturer = Capturer(
            identity=Identity("shop", "shelf", "shelf-a", "node-1"),
            spool=self.spool,
            settings=lambda: self.settings,
            serving=lambda: self.serving,
            redactor=Redactor(self.faces, self.network),  # type: ignore[arg-type]
            uploader=self.uploader,
            clock=lambda: self.now,
            chance=lambda: self.chance.getrandbits(64),
        )
        self.uploader.name = self.capturer.bundle_name

    async def sample(
        self, time: float | None = None, *, drifting: bool = False, **given: Any
    ) -> None:
        if time is not None:
            self.now = time
        await self.capturer.consider(offered(self.now, **given), drifting=drifting)

    async def pass_to(self, time: float) -> None:
        self.now = time
        await self.capturer.tend()

    def spooled(self) -> list[Captured]:
        found: list[Captured] = []
        for path in sorted(self.folder.rglob("*.tar")):
            found += unpack(path.read_bytes())
        return found
