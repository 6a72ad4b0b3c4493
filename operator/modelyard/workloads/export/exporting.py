"""Shared by the export formats: calls Ultralytics' exporter and classifies its failures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelyard.api.export import Export
from modelyard.workloads.errors import UserError, WorkloadError
from modelyard.workloads.train import servable
from modelyard.workloads.train.failures import recognise

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def export(file: Path, spec: Export, **settings: Any) -> Path:
    """Run Ultralytics' exporter on a .pt file; returns what it wrote.

    Raises UserError ExportFailed with the exporter's last line, or a known failure of the GPU or
    of memory.
    """
    from ultralytics import YOLO

    with failures(spec):
        model = YOLO(str(file))
        servable.require(model, f"export {spec.name}: the weights file")
        imgsz = spec.imgsz or int(model.overrides.get("imgsz", 640))
        _check_size(spec, imgsz, int(max(model.model.stride)))
        with _axes(spec):
            return Path(
                model.export(
                    imgsz=imgsz,
                    opset=spec.opset,
                    simplify=spec.simplify,
                    dynamic=spec.dynamic or spec.batched,
                    # Raw predictions: the pipeline suppresses overlaps with thresholds that can be
                    # changed after the export, for YOLO11 and YOLO26 alike.
                    nms=None,
                    verbose=False,
                    **settings,
                )
            )


@contextmanager
def _axes(spec: Export) -> Iterator[None]:
    """Makes the exporter leave height and width fixed where only the batch is to be dynamic.

    Ultralytics knows all three dynamic axes or none. With fixed sizes the graph keeps its constant
    grids, and a TensorRT engine gets a profile of one size: its exporter takes the profile's sizes
    from the graph, 1 to `batch` images.
    """
    if not spec.batched:
        yield
        return
    from ultralytics.utils.export import engine

    original = engine.torch2onnx

    def batch_only(*arguments: Any, **named: Any) -> Any:
        named["dynamic"] = {name: {0: "batch"} for name in named["dynamic"]}
        return original(*arguments, **named)

    engine.torch2onnx = batch_only
    try:
        yield
    finally:
        engine.torch2onnx = original


def _check_size(spec: Export, imgsz: int, stride: int) -> None:
    if imgsz % stride:
        near = max(stride, round(imgsz / stride) * stride)
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: imgsz {imgsz} is not a multiple of the network's stride "
            f"{stride}: use {near}",
        )


@contextmanager
def failures(spec: Export) -> Iterator[None]:
    """Raises whatever the exporter raises as UserError ExportFailed, known failures as those."""
    try:
        yield
    except (WorkloadError, OSError):
        raise
    except Exception as error:
        if known := recognise(error):
            raise known from error
        raise UserError(
            "ExportFailed",
            f"export {spec.name} to {spec.format} failed: {last_line(error)}",
        ) from error


def last_line(error: Exception) -> str:
    """The last line of an error that contains text."""
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines()]
    found = [line for line in lines if any(c.isalpha() for c in line)]
    text = found[-1] if found else "no reason given"
    return f"{type(error).__name__}: {text}"[:400]
