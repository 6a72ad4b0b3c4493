"""The profile of a version: figures of each image of the holdout, and their summary.

What a server later measures of its requests (brightness, boxes, embeddings, …) is measured here on
the holdout, with the same code (signals/). The figures of all images are one blob, a NumPy archive
(`pack`), for whoever looks closer; agents fetch the summary (contract/profile.py).
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.api.evaluation import Evaluation
from modelyard.api.pipeline import Pipeline
from modelyard.contract.profile import (
    CLASSES,
    LEVELS,
    MAX_IMAGES,
    ClassSummary,
    EmbeddingSummary,
    Figure,
    FigureSummary,
    ProfileSummary,
)
from modelyard.signals.detections import detection_figures
from modelyard.signals.embeddings import SEED, fourier, project
from modelyard.store.digests import sha256_bytes
from modelyard.workloads import images as reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = Pipeline().confidence
"""Boxes count from the confidence on that a server returns by default, unless the evaluation has
none of it."""
_PIXELS = ("brightness", "contrast", "sharpness", "colourfulness", "blank")
_PAIRS = 2000
"""Pairs of images that the kernel's width is taken from."""
_DIGITS = 6
_SMALLEST = 1e-9


@dataclass(frozen=True)
class Answers:
    """What a network answered to each image of the split, besides its boxes."""

    top_scores: NDArray[np.float64]
    """Best raw score as a logit, [images]."""
    embeddings: NDArray[np.float32] | None
    """[images, size]; None of a network without an embedding."""


@dataclass(frozen=True)
class Columns:
    """Figures of the measured images; their number is that of each [images]."""

    image: NDArray[np.int32]
    """Index of the image in the sorted split."""
    pixels: dict[str, NDArray[Any]]
    """Figures of the pixels by name, [images]."""
    top_score: NDArray[np.float32]
    detections: NDArray[np.int32]
    box_area: NDArray[np.float32]
    """Mean area of an image's boxes; NaN without boxes."""
    boxes: NDArray[Any]
    """All boxes: row of the image, class id, area."""
    embeddings: NDArray[np.float16] | None

    def pack(self) -> bytes:
        """A NumPy archive (.npz) without pickles; equal figures give equal bytes."""
        arrays: dict[str, NDArray[Any]] = {
            "image": self.image,
            **self.pixels,
            "topScore": self.top_score,
            "detections": self.detections,
            "boxArea": self.box_area,
            "boxRow": self.boxes["row"],
            "boxClass": self.boxes["class"],
            "boxAreas": self.boxes["area"],
        }
        if self.embeddings is not None:
            arrays["embedding"] = self.embeddings
        content = io.BytesIO()
        save: Any = np.savez  # Its type knows no further keywords beside `**arrays`.
        save(content, **arrays)
        return content.getvalue()


BOX = np.dtype([("row", "<i4"), ("class", "<i4"), ("area", "<f4")])


def threshold(evaluation: Evaluation) -> float:
    """The confidence from which on boxes count."""
    return max(CONFIDENCE, evaluation.confidence)


def chosen(images: int) -> NDArray[np.int32]:
    """Indexes of the images to measure: all, or MAX_IMAGES drawn at random, the same each time."""
    if images <= MAX_IMAGES:
        return np.arange(images, dtype=np.int32)
    drawn = np.random.RandomState(SEED).permutation(images)[:MAX_IMAGES]
    return np.sort(drawn).astype(np.int32)


def measure(
    found: NDArray[Any],
    answers: Answers,
    files: list[Path],
    *,
    confidence: float = CONFIDENCE,
    classes: int,
    workers: int,
) -> Columns:
    """Figures of the split's images. `found` are boxes.DETECTION rows, `files` the images in the
    order of their indexes, `classes` how many the model has; boxes count from `confidence` on."""
    image = chosen(len(files))
    found = found[found["confidence"] >= confidence]
    found = found[np.argsort(found["image"], kind="stable")]
    starts = np.searchsorted(found["image"], image)
    ends = np.searchsorted(found["image"], image, side="right")
    detections = np.zeros(len(image), np.int32)
    area = np.full(len(image), np.nan, np.float32)
    boxes = []
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        own = found[start:end]
        figures = detection_figures(own["box"], own["class"], size=(1, 1), class_count=classes)
        detections[row] = figures.detections
        if figures.mean_area is not None:
            area[row] = figures.mean_area
        rows = np.zeros(len(own), BOX)
        rows["row"], rows["class"], rows["area"] = row, own["class"], figures.areas
        boxes.append(rows)
    return Columns(
        image=image,
        pixels=_pixels([files[index] for index in image], workers),
        top_score=answers.top_scores[image].astype(np.float32),
        detections=detections,
        box_area=area,
        boxes=np.concatenate(boxes) if boxes else np.zeros(0, BOX),
        embeddings=_half(answers.embeddings, image),
    )


def summarise(
    columns: Columns, *, packed: bytes, artifact: str, dataset: str, evaluation: Evaluation
) -> ProfileSummary:
    """The summary of measured images, with the digests of what was measured on what."""
    values: dict[Figure, NDArray[Any]] = {
        Figure.TOP_SCORE: columns.top_score,
        Figure.DETECTIONS: columns.detections,
        Figure.BOX_AREA: columns.box_area[np.isfinite(columns.box_area)],
        **{Figure(name): columns.pixels[name] for name in _PIXELS if name != "blank"},
    }
    return ProfileSummary(
        artifact=artifact,
        dataset=dataset,
        split=evaluation.split,
        profile=sha256_bytes(packed),
        images=len(columns.image),
        blank=_rounded(columns.pixels["blank"].mean()),
        confidence=threshold(evaluation),
        iou=evaluation.iou,
        figures={name: _distribution(own) for name, own in values.items() if len(own)},
        classes=_class_mix(columns.boxes["class"]),
        embedding=None if columns.embeddings is None else _embedding(columns.embeddings),
    )


def _pixels(files: list[Path], workers: int) -> dict[str, NDArray[Any]]:
    # cv2, and so this import, only where images are measured.
    from modelyard.signals.images import image_figures

    def one(path: Path) -> tuple[float, ...]:
        image = reading.imread(path)
        if image is None:
            raise ValueError(f"{path} cannot be decoded, and was when the dataset was checked")
        figures = image_figures(image)
        return tuple(float(getattr(figures, name)) for name in _PIXELS)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        rows = np.array(list(pool.map(one, files)), np.float32).reshape(-1, len(_PIXELS))
    found: dict[str, NDArray[Any]] = {name: rows[:, i] for i, name in enumerate(_PIXELS)}
    return {**found, "blank": found["blank"].astype(bool)}


def _half(embeddings: NDArray[Any] | None, image: NDArray[Any]) -> NDArray[np.float16] | None:
    """Embeddings in half precision, which is plenty for comparisons. None if any is not finite:
    then nothing can be compared with them."""
    if embeddings is None or not np.isfinite(embeddings[image]).all():
        return None
    limit = float(np.finfo(np.float16).max)
    return np.asarray(np.clip(embeddings[image], -limit, limit), dtype=np.float16)


def _distribution(values: NDArray[Any]) -> FigureSummary:
    own = values.astype(np.float64)
    return FigureSummary(
        count=len(own),
        mean=_rounded(own.mean()),
        sd=_rounded(own.std()),
        quantiles=_rounded_all(np.quantile(own, LEVELS)),
    )


def _class_mix(ids: NDArray[Any]) -> ClassSummary:
    known, counts = np.unique(ids, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:CLASSES]
    shares = _rounded_all(counts[first] / max(len(ids), 1))
    rest = max(len(ids) - int(counts[first].sum()), 0) / max(len(ids), 1)
    return ClassSummary(
        boxes=len(ids),
        ids=tuple(int(known[i]) for i in first),
        shares=shares,
        other=_rounded(rest),
    )


def _embedding(embeddings: NDArray[Any]) -> EmbeddingSummary:
    projected = project(embeddings)
    center, scale = projected.mean(axis=0), projected.std(axis=0)
    # A projection that never changes (of one image, or of a dead layer) is left unscaled.
    scale = np.where(scale > _SMALLEST, scale, 1.0)
    scaled = (projected - center) / scale
    pairs = np.random.RandomState(SEED).randint(0, len(scaled), (_PAIRS, 2))
    apart = np.linalg.norm(scaled[pairs[:, 0]] - scaled[pairs[:, 1]], axis=1)
    apart = apart[apart > _SMALLEST]
    width = float(np.median(apart)) if len(apart) else 1.0
    return EmbeddingSummary(
        size=embeddings.shape[1],
        center=_rounded_all(center),
        scale=_rounded_all(scale),
        radius=_rounded(np.quantile((scaled**2).sum(axis=1), 0.99)),
        bandwidth=_rounded(width),
        features=_rounded_all(fourier(scaled / width).mean(axis=0)),
    )


def _rounded(value: Any) -> float:
    return float(f"{float(value):.{_DIGITS}g}")


def _rounded_all(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(_rounded(value) for value in values)
