"""Nothing that is to be redacted reaches a disk or the store in clear.

Played: the detectors' answers; what they cover is a pattern that is looked for everywhere.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from modelyard.api.monitoring import Redaction, ServerCapture
from modelyard.contract.capture import Captured, unpack
from modelyard.workloads.agent.capture.faces import DetectorUnavailable
from modelyard.workloads.agent.capture.mosaic import pixelate, regions
from modelyard.workloads.agent.capture.network import Boxes, NetworkError

from .played import MIDNIGHT, NONE, Site

FACE = np.array([[100, 60, 164, 140]], np.float32)
ON = Redaction(faces=True)
PERSONS = Redaction(faces=True, classes=["person"], allow_trained_classes=True)
SEEN = Boxes(FACE, np.array([0.9], np.float32), np.array([0]))


def marker() -> np.ndarray:
    """A pattern of high contrast, 64 x 80 pixels."""
    return np.kron(
        np.random.default_rng(5).integers(0, 2, (20, 16), dtype=np.uint8) * 255,
        np.ones((4, 4), np.uint8),
    )


def picture() -> np.ndarray:
    image = np.full((240, 320, 3), 90, np.uint8)
    image[60:140, 100:164] = marker()[..., None]
    return image


def encoded(ending: str, image: np.ndarray | None = None) -> bytes:
    return cv2.imencode(f".{ending}", picture() if image is None else image)[1].tobytes()


def similarity(image: np.ndarray) -> float:
    """Best correlation of the pattern with any place of an image."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return float(cv2.matchTemplate(grey, marker(), cv2.TM_CCOEFF_NORMED).max())


def shown(capture: Captured) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(capture.image, np.uint8), cv2.IMREAD_COLOR)


def clear_images(folder: Path) -> list[str]:
    """Files below a folder that hold the pattern: in captures, or in anything like an image."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if not data:
            continue
        images = [data]
        if path.suffix == ".tar":
            with contextlib.suppress(ValueError):
                images += [one.image for one in unpack(data)]
        for one in images:
            image = cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR)
            if image is not None and min(image.shape[:2]) >= 80 and similarity(image) > 0.5:
                found.append(str(path))
        if encoded("png")[100:400] in data or encoded("jpg")[700:900] in data:
            found.append(str(path))
    return found


def site_of(folder: Path, policy: Redaction) -> Site:
    site = Site(folder)
    site.settings = ServerCapture(random=24, redact=policy, on_demand="1/a")
    return site


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp"])
async def test_faces_are_nowhere_on_the_disk_or_in_the_store(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site = site_of(tmp_path / "cache", ON)
    site.faces.boxes = FACE
    site.network.answers = [NONE]
    image = encoded(ending)
    await site.sample(image=image, boxes=NONE.boxes, scores=NONE.scores, classes=NONE.classes)
    spooled = site.spooled()
    assert len(spooled) == 2
    assert clear_images(tmp_path) == []
    await site.pass_to(MIDNIGHT + 3 * 86_400)
    for one in site.intake.captures():
        assert similarity(shown(one)) < 0.5
        assert one.record.redaction is not None
        assert one.record.redaction.faces
    assert len(site.intake.captures()) == 2
    assert image[:64].hex() not in caplog.text


async def test_the_scan_finds_images_in_clear(tmp_path: Path) -> None:
    """The test above must be able to fail."""
    site = site_of(tmp_path, Redaction(faces=False))
    await site.sample(image=encoded("jpg"))
    assert clear_images(tmp_path)


async def test_classes_are_redacted_at_a_low_confidence(tmp_path: Path) -> None:
    site = site_of(tmp_path, PERSONS)
    faint = Boxes(FACE, np.array([0.06], np.float32), np.array([1]))
    site.network.answers = [faint, NONE]
    await site.sample(
        image=encoded("png"), boxes=NONE.boxes, scores=NONE.scores, classes=NONE.classes
    )
    assert site.network.asked[0][1] == pytest.approx(0.05)
    assert clear_images(tmp_path) == []
    assert all(one.record.for_training for one in site.spooled())


@pytest.mark.parametrize(
    ("policy", "trouble"),
    [
        (ON, "detector"),
        (PERSONS, "network"),
        (PERSONS.model_copy(update={"classes": ["persn"]}), "UnknownClass: persn"),
        (ON, "image"),
    ],
)
async def test_what_cannot_be_redacted_is_dropped(
    tmp_path: Path, policy: Redaction, trouble: str
) -> None:
    site = site_of(tmp_path, policy)
    site.faces.boxes = FACE
    if trouble == "detector":
        site.faces.error = DetectorUnavailable("the face detector is missing: use another image")
    if trouble == "network":
        site.network.answers = [NetworkError("the server is busy")]
    image = b"\xff\xd8\xffnot much" if trouble == "image" else encoded("jpg")
    await site.sample(image=image)
    assert site.spooled() == []
    status = site.capturer.status
    assert status is not None
    assert status.dropped == 1
    assert status.failure
    if trouble.startswith("Unknown"):
        assert trouble in status.failure
        assert "can, person" in status.failure


async def test_images_whose_answer_changes_are_not_for_training(tmp_path: Path) -> None:
    site = site_of(tmp_path, ON)
    site.faces.boxes = FACE
    site.network.answers = [NONE]  # the can was where the face is
    await site.sample(image=encoded("jpg"), boxes=SEEN.boxes, scores=SEEN.scores)
    [one, _] = site.spooled()
    assert one.record.redaction is not None
    assert one.record.redaction.agreement == 0
    assert not one.record.for_training


async def test_images_that_could_not_be_replayed_are_not_for_training(tmp_path: Path) -> None:
    site = site_of(tmp_path, ON)
    site.faces.boxes = FACE
    site.network.answers = [NetworkError("busy")]
    await site.sample(image=encoded("jpg"))
    assert not site.spooled()[0].record.for_training


async def test_redacted_classes_do_not_count_as_a_changed_answer(tmp_path: Path) -> None:
    site = site_of(tmp_path, PERSONS)
    person = Boxes(FACE, np.array([0.9], np.float32), np.array([1]))
    site.network.answers = [person, NONE]
    classes = np.array([1], np.int32)
    await site.sample(image=encoded("jpg"), boxes=FACE, classes=classes)
    assert site.spooled()[0].record.for_training


async def test_metadata_of_the_file_does_not_stay(tmp_path: Path) -> None:
    """A position or a thumbnail in EXIF would leave the site with the image."""
    site = site_of(tmp_path, ON)
    image = encoded("jpg")
    payload = b"Exif\0\0" + b"GPS 52.5200 13.4050" + encoded("jpg")
    with_exif = (
        image[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + image[2:]
    )
    await site.sample(image=with_exif)
    assert site.spooled()
    assert not any(b"GPS 52" in one.image for one in site.spooled())


def test_margins_stay_within_the_image_and_odd_boxes_do_no_harm() -> None:
    boxes = np.array([[-5, -5, 10, 10], [310, 230, 400, 300], [50, 50, 50, 50]], np.float32)
    broken = np.array([[np.nan, 0, 5, 5], [900, 900, 950, 950]], np.float32)
    found = regions(np.concatenate([boxes, broken]), 240, 320)
    assert found[0] == (0, 0, 16, 16)
    assert found[1][2:] == (320, 240)
    assert len(found) == 3
    pixelate(picture(), found)


def test_a_mosaic_keeps_at_most_a_few_colours() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    rough = pixelate(noise, [(0, 0, 64, 64)])
    assert len(np.unique(rough.reshape(-1, 3), axis=0)) <= 36
