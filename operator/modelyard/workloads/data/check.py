"""Checks images and labels, in parallel on the pod's CPUs."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from modelyard.serving.models import size
from modelyard.workloads import images
from modelyard.workloads.data.layout import Sample, relative

log = logging.getLogger("modelyard.data")

BATCH = 256
"""Images that wait for a thread at a time: bounds memory for sets of millions."""
PROGRESS_SECONDS = 10.0

MIN_PIXELS = 10
"""Smallest width and height that Ultralytics takes."""
TOLERANCE = 0.01
"""How far coordinates may lie outside 0 to 1, for rounding; as Ultralytics has it."""
COLUMNS = 5
MAX_LABEL_BYTES = 16 * 1024 * 1024
MAX_IMAGE_BYTES = 256 * 1024 * 1024
MAX_ERRORS_PER_FILE = 100

Box = tuple[int, float, float, float, float]
"""Class id; x and y of the centre, width and height as fractions of the image."""


@dataclass(frozen=True)
class Checked:
    """What was found out about one image."""

    sample: Sample
    digest: bytes = b""
    """sha256 of the image's bytes."""
    boxes: tuple[Box, ...] = ()
    """In the order of the label file, without duplicates."""
    duplicates: int = 0
    """Number of label lines that repeat an earlier one."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Path relative to the root, and what is wrong with it."""


def check_all(
    items: list[Sample], *, root: Path, classes: int, missing_is_background: bool, workers: int
) -> Iterator[Checked]:
    """Check images and their labels; yields in the order of `items` and logs how far it is."""
    max_pixels = size.max_pixels(size.memory_bytes(), workers)
    done, last, started = 0, time.monotonic(), time.monotonic()
    with ThreadPoolExecutor(workers, thread_name_prefix="check") as pool:
        for batch in _batches(items, BATCH):
            # Pillow's decoders and hashlib release the interpreter lock: threads are enough.
            for checked in pool.map(
                lambda sample: check(
                    sample,
                    root=root,
                    classes=classes,
                    missing_is_background=missing_is_background,
                    max_pixels=max_pixels,
                ),
                batch,
            ):
                done += 1
                yield checked
            if time.monotonic() - last > PROGRESS_SECONDS:
                last = time.monotonic()
                log.info(
                    "checked %d of %d images (%d%%)", done, len(items), 100 * done // len(items)
                )
    log.info("checked %d images in %.1f s", done, time.monotonic() - started)


def check(
    sample: Sample,
    *,
    root: Path,
    classes: int,
    missing_is_background: bool,
    max_pixels: int = size.MAX_PIXELS,
) -> Checked:
    """Check one image and its labels. An image of more than `max_pixels` is not decoded."""
    problems: list[tuple[str, str]] = []
    shown = relative(root, sample.image)
    digest, what = _check_image(sample.image, max_pixels)
    if what:
        problems.append((shown, what))
    boxes: list[Box] = []
    duplicates = 0
    label = relative(root, sample.label)
    if not sample.label.resolve().is_relative_to(root):
        problems.append((label, "is a link that leads outside the dataset"))
    elif sample.label.is_file():
        found, wrong = read_labels(sample.label, classes)
        boxes = list(dict.fromkeys(found))
        duplicates = len(found) - len(boxes)
        problems.extend((label, one) for one in wrong)
    elif not missing_is_background:
        problems.append(
            (
                shown,
                f"its label file {label} is missing; add it (empty for an image without "
                "objects), or set spec.quality.missingLabels to Background",
            )
        )
    return Checked(sample, digest, tuple(boxes), duplicates, problems)


def read_labels(path: Path, classes: int) -> tuple[list[Box], list[str]]:
    """The boxes of a label file, and what is wrong with its lines."""
    if path.stat().st_size > MAX_LABEL_BYTES:
        return [], [f"is larger than {MAX_LABEL_BYTES // 1024 // 1024} MiB"]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        return [], [f"cannot be read as text ({_one_line(error)})"]
    boxes: list[Box] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        columns = line.split()
        if not columns:
            continue
        try:
            boxes.append(_box(columns, classes))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            if len(problems) == MAX_ERRORS_PER_FILE:
                problems.append("and more lines")
                break
    return boxes, problems


def _box(columns: list[str], classes: int) -> Box:
    if len(columns) > COLUMNS + 1:
        raise ValueError(
            f"has {len(columns)} columns, as polygons or keypoints have; detection labels have 5: "
            "class x y width height"
        )
    if len(columns) != COLUMNS:
        raise ValueError(f"has {len(columns)} columns instead of 5: class x y width height")
    try:
        number, x, y, width, height = (float(column) for column in columns)
    except ValueError:
        raise ValueError(f"{' '.join(columns)[:80]!r} is not 5 numbers") from None
    if not all(map(math.isfinite, (number, x, y, width, height))):
        raise ValueError(f"{' '.join(columns)[:80]!r} has a number that is not finite")
    if number != int(number):
        raise ValueError(f"class id {columns[0][:20]} is not a whole number")
    if not 0 <= number < classes:
        raise ValueError(
            f"class id {int(number)} is out of range: the data file has {classes} "
            f"{'class' if classes == 1 else 'classes'}, ids 0 to {classes - 1}"
        )
    for value, text in zip((x, y, width, height), columns[1:], strict=True):
        if not -TOLERANCE <= value <= 1 + TOLERANCE:
            raise ValueError(
                f"coordinate {text[:20]} is not within 0 to 1; coordinates are fractions of the "
                "image's width and height"
            )
    if width <= 0 or height <= 0:
        raise ValueError("the box is empty: its width or height is not above 0")
    return int(number), x, y, width, height


def _check_image(path: Path, max_pixels: int) -> tuple[bytes, str | None]:
    """Digest of the file, and what is wrong with it."""
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            return b"", f"is larger than {MAX_IMAGE_BYTES // 1024 // 1024} MiB"
        # From memory: a file would be asked for as many bytes as a chunk says that it has, and
        # Python makes room for them first. A PNG of 70 bytes took 2.5 GiB.
        data = path.read_bytes()
        digest = hashlib.sha256(data).digest()
        # Decoding all of it with Pillow finds truncated files, which OpenCV fills with grey.
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            if width * height > max_pixels:
                return digest, (
                    f"is {width}x{height} pixels, more than the {max_pixels / 1e6:.1f} "
                    "megapixels that fit into the pod's memory: make it smaller, or raise "
                    "spec.resources.memory"
                )
            name = image.format
            if name in images.FORMATS:
                image.load()
    except UnidentifiedImageError:
        return b"", "is not an image that can be decoded"
    except Image.DecompressionBombError as error:
        return b"", f"is too large to decode ({_one_line(error)})"
    except Exception as error:  # Pillow's decoders raise all sorts of errors for damaged files
        return b"", f"is a corrupt image ({_one_line(error)})"
    if name not in images.FORMATS:
        return digest, (
            f"is a {name} image by its content, which is not trained on: convert it to JPEG, PNG, "
            "WebP, BMP or TIFF"
        )
    decoded = images.decode(data)
    if decoded is None:
        return digest, f"is a {name} image that OpenCV cannot decode: convert it to JPEG or PNG"
    height, width = decoded.shape[:2]
    if min(width, height) < MIN_PIXELS:
        return digest, f"is {width}x{height} pixels; each side must have at least {MIN_PIXELS}"
    return digest, None


def _batches(items: list[Sample], size: int) -> Iterator[list[Sample]]:
    iterator: Iterable[Sample] = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
