"""Asks the serving network itself, by its stable name, for boxes at any confidence.

Requests to the bare network are neither sampled nor counted among a version's answers, so
redaction's own questions stay out of all figures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from modelyard.serving.models.boxes import select_final, select_raw
from modelyard.serving.models.letterbox import letterbox, to_image, to_tensor
from modelyard.serving.names import network_name
from modelyard.serving.repository import Record
from modelyard.serving.triton import Triton

_SECONDS = 30.0
_WAIT_SECONDS = 0.5
_PATIENCE_SECONDS = 30.0
"""How long a question waits for a server that is busy."""
BUSY_PENDING = 4
"""Queued requests in Triton from which on questions wait."""


@dataclass(frozen=True)
class Boxes:
    """Boxes [N, 4] in pixels of the image, scores [N], class ids [N]."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


class Network(Protocol):
    """What redaction asks."""

    async def boxes(self, image: np.ndarray, confidence: float) -> Boxes:
        """Boxes in an image, uint8 BGR, above a confidence. Raises NetworkError."""


class NetworkError(Exception):
    """The network did not answer."""


class ServingNetwork:
    """The network of the version that serves."""

    def __init__(
        self,
        triton: Triton,
        line: str,
        record: Callable[[], Record | None],
        pending: Callable[[], float],
    ) -> None:
        """`record` gives what the serving generation was made from, `pending` the requests that
        wait in Triton."""
        self._triton = triton
        self._line = line
        self._record = record
        self._pending = pending

    async def boxes(self, image: np.ndarray, confidence: float) -> Boxes:
        """See Network."""
        record = self._record()
        if record is None:
            raise NetworkError("no version serves")
        manifest, pipeline = record.manifest, record.settings.pipeline
        await self._turn()
        dtype = np.float16 if manifest.input.dtype == "FP16" else np.float32
        size = manifest.imgsz
        tensor = await asyncio.to_thread(lambda: to_tensor(letterbox(image, *size), dtype))
        try:
            answer = await self._triton.infer_tensor(
                network_name(self._line), manifest.input.name, tensor, seconds=_SECONDS
            )
            raw = answer.outputs[manifest.outputs[0].name]
        except Exception as error:
            raise NetworkError(f"{type(error).__name__}: {error}") from error
        rows, limit = raw[0].astype(np.float32, copy=False), pipeline.max_detections
        if manifest.suppressed:
            boxes, scores, classes = select_final(rows, confidence, limit)
        else:
            boxes, scores, classes = select_raw(rows, confidence, pipeline.iou, limit)
        height, width = image.shape[:2]
        return Boxes(to_image(boxes, size, (height, width)), scores, classes)

    async def _turn(self) -> None:
        """Clients go first."""
        waited = 0.0
        while self._pending() >= BUSY_PENDING:
            if waited >= _PATIENCE_SECONDS:
                raise NetworkError("the server is busy")
            await asyncio.sleep(_WAIT_SECONDS)
            waited += _WAIT_SECONDS
