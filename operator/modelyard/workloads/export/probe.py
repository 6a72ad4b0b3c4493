"""Runs an exported network: with dynamic axes, only its answers show what it is.

A YOLO detection head answers (1, 4 + classes, boxes), with one box for each cell of its grids
(ultralytics/nn/modules/head.py: Detect), or final boxes (1, n, 6) where suppression is part of the
graph. RT-DETR answers (1, 300, 4 + classes); rotated boxes, key points and masks have further rows.

Where it takes several images, each has to be answered as it is alone: a graph can have a batch of
one written into it somewhere, or mix the images of a batch.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.contract.manifest import END_TO_END_COLUMNS, ArtifactManifest
from modelyard.workloads.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("modelyard.export")


BATCH = 3
"""Images of the tried batch."""
TOLERANCE = 1e-2
"""Maximum relative difference of an answer in a batch. Kernels sum in another order for another
batch size, which moves values by less than a thousandth."""


def require_detections(path: Path, manifest: ArtifactManifest, what: str) -> None:
    """Raises UserError unless an ONNX file answers as its manifest says; `what` names it."""
    try:
        session = _session(path)
        shape, embedding = _shapes(session, manifest)
        difference = _difference(session, manifest) if manifest.batch_of(BATCH) > 1 else 0.0
    except Exception as error:  # ONNX Runtime has errors of its own for each step
        raise UserError(
            "ExportFailed",
            f"{what} does not run with ONNX Runtime: {' '.join(str(error).split())[:300]}",
        ) from error
    if not fits(shape, manifest):
        raise UserError(
            "ModelUnsupported",
            f"{what} answers one image of {manifest.imgsz[0]}x{manifest.imgsz[1]} pixels with "
            f"{list(shape)}, which is not what a YOLO detection head with "
            f"{len(manifest.classes)} classes answers; RT-DETR and other heads are not served: "
            "export a YOLO detection model",
        )
    if manifest.embedding and embedding != (1, manifest.embedding.size):
        raise UserError(
            "ModelUnsupported",
            f"{what} answers one image with the embedding {list(embedding)} instead of "
            f"{[1, manifest.embedding.size]}: export it again",
        )
    if not difference <= TOLERANCE:
        raise UserError(
            "ExportFailed",
            f"{what} has a dynamic batch, but answers an image in a batch of "
            f"{manifest.batch_of(BATCH)} otherwise than alone (values differ by {difference:.3g}): "
            "export it with batch 1",
        )


def fits(shape: tuple[int, ...], manifest: ArtifactManifest) -> bool:
    """Whether the answer to one image has the shape that the serving steps read."""
    if len(shape) != 3 or shape[0] != 1:
        return False
    if manifest.suppressed:
        return shape[2] == END_TO_END_COLUMNS
    return shape[1] == 4 + len(manifest.classes) and shape[2] in box_counts(
        manifest.imgsz, manifest.stride
    )


def box_counts(size: tuple[int, int], stride: int) -> set[int]:
    """Boxes that a head with grids of strides s, 2s, …, `stride` has, for each s that is possible:
    8 for most models, 4 for those with a P2 layer, 16 for the tiny ones."""
    counts, total, step = set(), 0, stride
    while step >= 4:
        total += (size[0] // step) * (size[1] // step)
        counts.add(total)
        step //= 2
    return counts


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _images(manifest: ArtifactManifest) -> NDArray[Any]:
    """Different images, smooth as photographs are: shades of grey, each with a bright patch."""
    import numpy as np

    height, width = manifest.imgsz
    count = manifest.batch_of(BATCH)
    dtype = np.float16 if manifest.input.dtype == "FP16" else np.float32
    images = np.empty((count, 3, height, width), dtype)
    for number, image in enumerate(images):
        image[:] = 0.5 - 0.1 * number
        image[:, : height // (2 + number), : width // 2] = 0.9
    return images


def _answer(session: Any, manifest: ArtifactManifest, images: NDArray[Any]) -> list[NDArray[Any]]:
    """The first output, and the embedding where there is one."""
    wanted = [manifest.outputs[0].name]
    if manifest.embedding:
        wanted.append(manifest.embedding.output)
    found: list[NDArray[Any]] = session.run(wanted, {manifest.input.name: images})
    return found


def _shapes(session: Any, manifest: ArtifactManifest) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the first output and of the embedding for one image; () without one."""
    answers = _answer(session, manifest, _images(manifest)[:1])
    shapes = [tuple(map(int, one.shape)) for one in answers]
    return shapes[0], shapes[1] if len(shapes) > 1 else ()


def _difference(session: Any, manifest: ArtifactManifest) -> float:
    """Largest difference between an image's answers in a batch and those alone."""
    import numpy as np

    images = _images(manifest)
    alone = [_answer(session, manifest, images[i : i + 1]) for i in range(len(images))]
    together = _answer(session, manifest, images)
    worst = 0.0
    for output, found in enumerate(together):
        wanted = np.concatenate([one[output] for one in alone])
        if found.shape != wanted.shape:
            return float("inf")
        # Scores are parts of 1, coordinates are pixels: both move by a small part of themselves.
        scale = np.maximum(1.0, np.abs(wanted))
        worst = max(worst, float(np.max(np.abs(found - wanted) / scale)))
    return worst
