"""Runs an exported network once: with dynamic axes, only its answer shows what it is.

A YOLO detection head answers (1, 4 + classes, boxes), with one box for each cell of its grids
(ultralytics/nn/modules/head.py: Detect), or final boxes (1, n, 6) where suppression is part of the
graph. RT-DETR answers (1, 300, 4 + classes); rotated boxes, key points and masks have further rows.
"""

from __future__ import annotations

import logging
from pathlib import Path

from modelyard.contract.manifest import END_TO_END_COLUMNS, ArtifactManifest
from modelyard.workloads.errors import UserError

log = logging.getLogger("modelyard.export")


def require_detections(path: Path, manifest: ArtifactManifest, what: str) -> None:
    """Raises UserError unless an ONNX file answers as its manifest says; `what` names it."""
    try:
        shape, embedding = _answer(path, manifest)
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


def fits(shape: tuple[int, ...], manifest: ArtifactManifest) -> bool:
    """Whether an answer to one image has the shape that the serving steps read."""
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


def _answer(path: Path, manifest: ArtifactManifest) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the first output and of the embedding for one grey image; () without one."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    batch = manifest.batch if manifest.batch > 0 else 1
    dtype = np.float16 if manifest.input.dtype == "FP16" else np.float32
    image = np.full((batch, 3, *manifest.imgsz), 0.5, dtype)
    wanted = [manifest.outputs[0].name]
    if manifest.embedding:
        wanted.append(manifest.embedding.output)
    answers = session.run(wanted, {manifest.input.name: image})
    # A fixed batch of several is as good as one.
    shapes = [(1, *map(int, one.shape[1:])) if one.ndim else () for one in answers]
    return shapes[0], shapes[1] if len(shapes) > 1 else ()
