"""Makes an image fit to be kept: faces and some classes become mosaics, all in memory.

Whatever fails here raises NotRedacted, and then the image is dropped: no image is kept because a
detector was missing. The redacted file is written anew, so embedded thumbnails and positions (EXIF)
are gone. The serving network is asked what it sees in it; where that differs from its answer to the
original, the image is marked as not for training.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

import cv2
import numpy as np

from modelyard.api.monitoring import Redaction
from modelyard.contract.capture import AppliedRedaction
from modelyard.serving.models.decode import ImageError, _from_base64, decode, image_format
from modelyard.workloads.agent.capture.faces import DetectorUnavailable, FaceDetector
from modelyard.workloads.agent.capture.mosaic import Region, pixelate, regions
from modelyard.workloads.agent.capture.network import Boxes, Network, NetworkError
from modelyard.workloads.agent.capture.offers import Offered, Serving
from modelyard.workloads.agent.capture.selection import f1

LOW_CONFIDENCE = 0.05
"""Confidence from which on a box of a class to redact counts."""
LEAST_AGREEMENT = 0.9
"""F1 below which a redacted image is not for training."""
MAX_PIXELS = 16_000_000
"""Larger images are not captured: 48 MB for each copy in memory."""
_QUALITY = 95


class NotRedacted(Exception):
    """The image cannot be kept. The text begins with a reason, and says what to do."""


@dataclass(frozen=True)
class Prepared:
    """An image that may be written to a disk."""

    content: bytes
    ending: str
    """jpg, png, webp or bmp."""
    width: int
    height: int
    sha256: str
    redaction: AppliedRedaction | None
    for_training: bool
    pixels: np.ndarray
    """The image in clear, uint8 BGR; stays in memory."""


_ENDINGS = {"JPEG": "jpg", "PNG": "png", "WebP": "webp", "BMP": "bmp"}


class Redactor:
    """Redacts images of one server."""

    def __init__(self, faces: FaceDetector, network: Network) -> None:
        self._faces = faces
        self._network = network

    async def prepare(self, offered: Offered, serving: Serving, policy: Redaction) -> Prepared:
        """The image as it may be kept. Raises NotRedacted."""
        data = offered.image if image_format(offered.image) else _from_base64(offered.image)
        try:
            pixels = await asyncio.to_thread(decode, data, MAX_PIXELS)
        except ImageError as error:
            raise NotRedacted(f"NotDecoded: an image cannot be decoded: {error}") from error
        if not policy.faces and not policy.classes:
            ending = _ENDINGS.get(image_format(data) or "", "bin")
            return _prepared(data, ending, pixels, None, True)
        ids = _class_ids(policy.classes, serving)
        found = await self._regions(offered, pixels, policy, ids)
        content, ending = await asyncio.to_thread(_encode, pixelate(pixels, found), data)
        agreement = await self._agreement(offered, serving, content, ids) if found else 1.0
        redaction = AppliedRedaction(
            faces=policy.faces,
            classes=sorted(policy.classes),
            regions=found,
            agreement=agreement,
        )
        kept = agreement is not None and agreement >= LEAST_AGREEMENT
        return _prepared(content, ending, pixels, redaction, kept)

    async def _regions(
        self, offered: Offered, pixels: np.ndarray, policy: Redaction, ids: set[int]
    ) -> list[Region]:
        boxes: list[np.ndarray] = []
        try:
            if policy.faces:
                boxes.append(await asyncio.to_thread(self._faces.find, pixels))
            if ids:
                seen = await self._network.boxes(pixels, LOW_CONFIDENCE)
                boxes.append(seen.boxes[np.isin(seen.classes, list(ids))])
                boxes.append(offered.boxes[np.isin(offered.classes, list(ids))])
        except DetectorUnavailable as error:
            raise NotRedacted(f"NotRedacted: {error}") from error
        except NetworkError as error:
            raise NotRedacted(
                f"NotRedacted: the serving network was not asked where {', '.join(policy.classes)} "
                f"are: {error}"
            ) from error
        except cv2.error as error:
            raise NotRedacted(f"NotRedacted: OpenCV failed on an image: {error.err}") from error
        height, width = pixels.shape[:2]
        return [one for part in boxes for one in regions(part, height, width)]

    async def _agreement(
        self, offered: Offered, serving: Serving, content: bytes, ids: set[int]
    ) -> float | None:
        """F1 of the answer to the redacted image, without the classes that were redacted."""
        try:
            seen = await self._network.boxes(decode(content), serving.confidence)
        except NetworkError:
            return None
        before = Boxes(offered.boxes, offered.scores, offered.classes)
        one, other = _without(before, ids), _without(seen, ids)
        return round(f1(one.boxes, one.scores, one.classes, other.boxes, other.classes), 4)


def covers(kept: AppliedRedaction | None, policy: Redaction) -> bool:
    """Whether an image that was kept under an earlier policy may stay under this one."""
    if not policy.faces and not policy.classes:
        return True
    if kept is None or (policy.faces and not kept.faces):
        return False
    return set(policy.classes) <= set(kept.classes)


def _class_ids(names: list[str], serving: Serving) -> set[int]:
    """Ids of the classes to redact. Raises NotRedacted for a name that the version lacks."""
    unknown = sorted(set(names) - set(serving.classes))
    if unknown:
        known = ", ".join(serving.classes[:10]) + (", …" if len(serving.classes) > 10 else "")
        raise NotRedacted(
            f"UnknownClass: {', '.join(unknown)} in monitoring.capture.redact.classes is no class "
            f"of {serving.model_version} ({known}), so nothing is captured: correct the name"
        )
    return {index for index, name in enumerate(serving.classes) if name in names}


def _without(seen: Boxes, ids: set[int]) -> Boxes:
    rest = ~np.isin(seen.classes, list(ids))
    return Boxes(seen.boxes[rest], seen.scores[rest], seen.classes[rest])


def _encode(image: np.ndarray, original: bytes) -> tuple[bytes, str]:
    """The image in the original's kind of file: without loss where that has none."""
    lossy = image_format(original) in ("JPEG", "WebP")
    ending = "jpg" if lossy else "png"
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if lossy else []
    done, content = cv2.imencode(f".{ending}", image, options)
    if not done:
        raise NotRedacted("NotRedacted: a redacted image could not be encoded")
    return content.tobytes(), ending


def _prepared(
    content: bytes,
    ending: str,
    pixels: np.ndarray,
    redaction: AppliedRedaction | None,
    for_training: bool,
) -> Prepared:
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(content).hexdigest()
    return Prepared(content, ending, width, height, digest, redaction, for_training, pixels)
