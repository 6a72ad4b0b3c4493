"""ONNX artifacts, exported from a .pt file or provided by the user, and their manifest."""

from __future__ import annotations

import ast
import logging
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelyard.api.modelversion import Export
from modelyard.contract.manifest import ArtifactFile, ArtifactManifest, DataType, TensorSpec
from modelyard.store import sha256_file
from modelyard.workloads.errors import UserError
from modelyard.workloads.export import exporting, probe
from modelyard.workloads.train import servable

log = logging.getLogger("modelyard.export")

VOLATILE = frozenset({"date", "description"})
"""Metadata that differs from one export of the same weights to the next: time and local paths."""


def export(file: Path, spec: Export) -> tuple[Path, ArtifactManifest]:
    """Export a .pt file. Equal weights and settings give equal bytes, so that a repeated export
    is the same artifact. Raises UserError."""
    import onnx

    path = exporting.export(file, spec, format="onnx", device="cpu")
    with exporting.failures(spec):
        model = onnx.load(str(path))
        kept = [one for one in model.metadata_props if one.key not in VOLATILE]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))
    manifest = describe(path, model, spec)
    probe.require_detections(path, manifest, f"export {spec.name}: the ONNX file")
    return path, manifest


def adopt(file: Path, spec: Export) -> tuple[Path, ArtifactManifest]:
    """Take an ONNX file that was exported with Ultralytics elsewhere. Raises UserError."""
    import onnx

    with exporting.failures(spec):
        model = onnx.load(str(file))
        onnx.checker.check_model(model, full_check=True)
    manifest = describe(file, model, spec)
    if spec.imgsz and manifest.imgsz != (spec.imgsz, spec.imgsz) and not manifest.dynamic:
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: imgsz is {spec.imgsz}, but the ONNX weights have the fixed input "
            f"size {manifest.imgsz[0]} x {manifest.imgsz[1]}: correct imgsz, or leave it out",
        )
    probe.require_detections(file, manifest, f"export {spec.name}: the ONNX file")
    return file, manifest


def describe(path: Path, model: Any, spec: Export) -> ArtifactManifest:
    """The manifest, from the graph and from the metadata that Ultralytics puts into the file.

    Raises UserError for a graph that cannot be served.
    """
    metadata = {one.key: one.value for one in model.metadata_props}
    known = {one.name for one in model.graph.initializer}
    inputs = [tensor(one) for one in model.graph.input if one.name not in known]
    outputs = tuple(tensor(one) for one in model.graph.output)
    if len(inputs) != 1 or "names" not in metadata or "stride" not in metadata:
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: the ONNX file has {len(inputs)} inputs and metadata "
            f"{sorted(metadata) or 'none'}; one image input and Ultralytics' metadata (names, "
            "stride) are needed: export it with Ultralytics, or use the .pt weights",
        )
    what = f"export {spec.name}: the ONNX file"
    servable.require_task(metadata.get("task", "detect"), what)
    if "head" in metadata:  # not in the files of earlier releases: see probe.py
        servable.require_head(metadata["head"], what)
    try:
        servable.require_channels(metadata.get("channels", servable.CHANNELS), what)
        names = ast.literal_eval(metadata["names"])
        stride = int(metadata["stride"])
        size = [int(one) for one in ast.literal_eval(metadata.get("imgsz", "[640, 640]"))]
        dynamic = -1 in inputs[0].shape
        if dynamic and spec.imgsz:
            size = [spec.imgsz, spec.imgsz]
        arguments = ast.literal_eval(metadata.get("args", "{}"))
        return ArtifactManifest(
            format="onnx",
            file=file_of(path),
            classes=tuple(str(names[index]) for index in range(len(names))),
            imgsz=(size[0], size[1]),
            input=inputs[0],
            outputs=outputs,
            embedded_nms=bool(arguments.get("nms")),
            end_to_end=metadata.get("end2end", "False") == "True",
            stride=stride,
            dynamic=dynamic,
            ultralytics_version=metadata.get("version"),
        )
    except ValidationError as error:
        detail = "; ".join(one["msg"] for one in error.errors())
        raise UserError(
            "ExportFailed", f"export {spec.name}: the ONNX file cannot be served: {detail}"
        ) from error
    except (ValueError, SyntaxError, KeyError, IndexError, TypeError) as error:
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: the ONNX file's metadata is not what Ultralytics writes "
            f"({error}): export it again",
        ) from error


def file_of(path: Path) -> ArtifactFile:
    """Name, digest and size of an artifact's file."""
    return ArtifactFile(name=path.name, digest=sha256_file(path), size_bytes=path.stat().st_size)


def tensor(value: Any) -> TensorSpec:
    """A graph's input or output (onnx.ValueInfoProto). Raises UserError for a type that is not
    served."""
    import onnx

    names: dict[int, DataType] = {
        onnx.TensorProto.FLOAT: "FP32",
        onnx.TensorProto.FLOAT16: "FP16",
        onnx.TensorProto.INT8: "INT8",
        onnx.TensorProto.UINT8: "UINT8",
        onnx.TensorProto.INT32: "INT32",
        onnx.TensorProto.INT64: "INT64",
    }
    kind = value.type.tensor_type
    if kind.elem_type not in names:
        raise UserError(
            "ExportFailed", f"tensor {value.name} has a type ({kind.elem_type}) that is not served"
        )
    shape = tuple(
        one.dim_value if one.HasField("dim_value") and one.dim_value > 0 else -1
        for one in kind.shape.dim
    )
    return TensorSpec(name=value.name, dtype=names[kind.elem_type], shape=shape)
