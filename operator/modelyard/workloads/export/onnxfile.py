"""ONNX artifacts, exported from a .pt file or provided by the user, and their manifest.

The file's bytes come from a stranger: they were written by a process that had loaded the weights,
or by the user. Nothing outside the file is read (`read`), and the metadata is parsed as literals.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelyard.api.export import Export
from modelyard.contract.manifest import (
    ArtifactFile,
    ArtifactManifest,
    DataType,
    TensorSpec,
    embedding_of,
)
from modelyard.store import sha256_file
from modelyard.workloads.errors import UserError
from modelyard.workloads.export import embedding, exporting, probe
from modelyard.workloads.handover import printable
from modelyard.workloads.train import servable

log = logging.getLogger("modelyard.export")

VOLATILE = frozenset({"date", "description"})
"""Metadata that differs from one export of the same weights to the next: time and local paths."""
MAX_BYTES = 2 * 1024**3 - 1
"""Maximum size of a protobuf message, and so of an ONNX file without external data."""
MAX_METADATA = 4 * 1024**2
"""Maximum characters of one metadata value: 100,000 class names fit."""
COMPILED = "EPContext"
"""Operator that holds, or names a file with, a program compiled for one execution provider."""


def finish(path: Path, spec: Export) -> ArtifactManifest:
    """Check an exported file in place, add the embedding, and leave out what differs between
    exports: equal weights and settings give equal bytes, so that a repeated export is the same
    artifact.

    Raises UserError.
    """
    import onnx

    with exporting.failures(spec):
        model = read(path, spec)
        kept = [one for one in model.metadata_props if one.key not in VOLATILE]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        if not embedding.add(model):
            log.info("the network has no embedding: its backbone was not recognised")
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(path))
    manifest = describe(path, model, spec)
    _check_batch(manifest, spec)
    probe.require_detections(path, manifest, f"export {spec.name}: the ONNX file")
    return manifest


def adopt(file: Path, spec: Export) -> tuple[Path, ArtifactManifest]:
    """Take an ONNX file that was exported with Ultralytics elsewhere. Raises UserError."""
    import onnx

    with exporting.failures(spec):
        model = read(file, spec)
        onnx.checker.check_model(model, full_check=True)
    manifest = describe(file, model, spec)
    if spec.imgsz and manifest.imgsz != (spec.imgsz, spec.imgsz) and not manifest.dynamic:
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: imgsz is {spec.imgsz}, but the ONNX weights have the fixed input "
            f"size {manifest.imgsz[0]} x {manifest.imgsz[1]}: correct imgsz, or leave it out",
        )
    _check_batch(manifest, spec)
    probe.require_detections(file, manifest, f"export {spec.name}: the ONNX file")
    return file, manifest


def _check_batch(manifest: ArtifactManifest, spec: Export) -> None:
    """Raises UserError for a file with a batch that is not the declared one, or that no server can
    use."""
    if manifest.batch > 1:
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: the ONNX file computes exactly {manifest.batch} images at once, "
            "so it cannot answer a single request: export it with batch=1, or with dynamic=True",
        )
    if manifest.batch == 1 and spec.batched:
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: batch is {spec.batch}, but the ONNX file computes one image at a "
            "time: export it with dynamic=True, or leave batch out",
        )


def read(path: Path, spec: Export) -> Any:
    """The model (onnx.ModelProto), which refers to nothing outside its file.

    Raises UserError for one that names other files, which would be read here and on every server.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto):
            outside = message.data_location == onnx.TensorProto.EXTERNAL or message.external_data
        else:
            outside = isinstance(message, onnx.NodeProto) and message.op_type == COMPILED
        if outside:
            raise UserError(
                "ExportFailed",
                f"export {spec.name}: the ONNX file refers to data outside of it (in "
                f'"{printable(message.name)[:100]}"): save the model as one file, with its weights '
                "inside",
            )
    return model


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all messages inside it, subgraphs and functions included."""
    waiting = [message]
    while waiting:
        one = waiting.pop()
        yield one
        for field, value in one.ListFields():
            if field.message_type is None:
                continue
            # Only repeated fields have a length that is not the message's own.
            waiting.extend([value] if hasattr(value, "ListFields") else value)


def describe(path: Path, model: Any, spec: Export) -> ArtifactManifest:
    """The manifest, from the graph and from the metadata that Ultralytics puts into the file.

    Raises UserError for a graph that cannot be served.
    """
    metadata = {one.key: one.value for one in model.metadata_props}
    if any(len(value) > MAX_METADATA for value in metadata.values()):
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: a value in the ONNX file's metadata has more than "
            f"{MAX_METADATA} characters: export it again",
        )
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
        dynamic = -1 in inputs[0].shape[2:]
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
            embedding=embedding_of(outputs),
            embedded_nms=bool(arguments.get("nms")),
            end_to_end=metadata.get("end2end", "False") == "True",
            stride=stride,
            dynamic=dynamic,
            max_batch=spec.max_batch if inputs[0].shape[0] == -1 else None,
            ultralytics_version=metadata.get("version"),
        )
    except ValidationError as error:
        detail = "; ".join(one["msg"] for one in error.errors())
        raise UserError(
            "ExportFailed", f"export {spec.name}: the ONNX file cannot be served: {detail}"
        ) from error
    # The last two are what parsing deeply nested literals raises.
    except (
        ValueError, SyntaxError, KeyError, IndexError, TypeError, RecursionError, MemoryError
    ) as error:  # fmt: skip
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
