"""TensorRT engines, built on the GPU type that they are for.

Ultralytics builds the engine (https://docs.ultralytics.com/integrations/tensorrt/) and puts a
header in front of it; Triton and TensorRT itself read the bare plan, so the header is cut off and
its content goes into the manifest.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelyard.api.export import Export
from modelyard.contract.manifest import (
    EMBEDDING,
    ArtifactManifest,
    DataType,
    EngineTarget,
    TensorSpec,
    embedding_of,
    parse_manifest,
)
from modelyard.contract.run import ExportRun
from modelyard.workloads.data.materialize import DATA_FILE
from modelyard.workloads.errors import RetryableError, UserError
from modelyard.workloads.export import embedding, exporting
from modelyard.workloads.export.onnxfile import file_of

log = logging.getLogger("modelyard.export")

DYNAMIC_BATCH = 8
"""Largest batch of an engine that does not say another one. Kernels are chosen for the largest."""
CALIBRATION_IMAGES = 512
"""Images that int8 ranges are taken from; NVIDIA recommends some 500."""
MAX_MANIFEST_BYTES = 8 * 1024**2
"""Maximum size of an engine's manifest; 100,000 class names fit."""
SHARED_SUFFIX = "-SHARED"
"""What GPU feature discovery appends to the product of a time-sliced GPU."""

_QUANTIZE = {"fp32": None, "fp16": 16, "int8": 8}
_DTYPES: dict[str, DataType] = {
    "FLOAT": "FP32",
    "HALF": "FP16",
    "INT8": "INT8",
    "UINT8": "UINT8",
    "INT32": "INT32",
    "INT64": "INT64",
}


def build(run: ExportRun, data: Path | None, file: Path) -> tuple[Path, ArtifactManifest]:
    """Build an engine from a .pt file on this pod's GPU.

    int8 is calibrated on images of the training split, which lie in `data`, so that the holdout
    stays unseen. Raises UserError (ExportFailed, GpuMismatch, TensorRtMissing), RetryableError
    without a GPU.
    """
    spec = run.export
    gpu_product, capability = _gpu(spec)
    require(f"export {spec.name}")
    settings: dict[str, Any] = {
        "format": "engine",
        "device": 0,
        "quantize": _QUANTIZE[spec.precision],
        "batch": _max_batch(spec) or 1,
    }
    if spec.precision == "int8":
        settings |= _calibration(run, data)
    with embedding.in_exports():
        engine = exporting.export(file, spec, **settings)
    with exporting.failures(spec):
        metadata, plan = split_header(engine.read_bytes())
        path = engine.with_suffix(".plan")
        path.write_bytes(plan)
        engine.unlink()
        version, inputs, outputs = _tensors(plan)
    if not metadata or len(inputs) != 1:
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: the engine has {len(inputs)} inputs and "
            f"{'no' if not metadata else 'a'} metadata header: one image input and a header are "
            "expected of Ultralytics",
        )
    target = EngineTarget(
        gpu_product=gpu_product, compute_capability=capability, tensorrt_version=version
    )
    return path, _manifest(path, spec, metadata, inputs[0], outputs, target)


def checked_manifest(claimed: bytes, path: Path, spec: Export) -> ArtifactManifest:
    """The manifest that an isolated stage wrote for its plan, held against the plan's bytes.

    An engine can only be read on its GPU, where it is a program. What it does is measured by the
    evaluation, in a container without credentials; a wrong manifest fails there.
    Raises UserError.
    """
    try:
        manifest = parse_manifest(claimed)
    except ValidationError as error:
        detail = "; ".join(one["msg"] for one in error.errors()[:3])
        raise UserError(
            "ExportFailed", f"export {spec.name}: the engine's manifest cannot be read: {detail}"
        ) from error
    found = file_of(path)
    same = (manifest.file.digest, manifest.file.size_bytes) == (found.digest, found.size_bytes)
    if manifest.format != "tensorrt" or not same:
        raise UserError(
            "ExportFailed", f"export {spec.name}: the engine is not the one that its manifest names"
        )
    most = _max_batch(spec)
    if (manifest.batch, manifest.max_batch) != (-1 if most else 1, most):
        raise UserError(
            "ExportFailed",
            f"export {spec.name}: the engine was built for batches of {manifest.batch} (at most "
            f"{manifest.max_batch}), not for the declared {spec.batch or most or 1}: report it as "
            "an error of this release",
        )
    return manifest


def require(what: str) -> None:
    """Raises UserError TensorRtMissing, about `what`, in an image that has no TensorRT."""
    try:
        import tensorrt  # noqa: F401
    except ImportError as error:
        raise UserError(
            "TensorRtMissing",
            f"{what} needs TensorRT, which this pod's image lacks ({error}): set the chart's value "
            "images.tensorrt to an image built from images/trainer/Dockerfile.gpu",
        ) from error


def split_header(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Ultralytics' metadata and the bare plan. The header is the length of a JSON text (4 bytes,
    little-endian) and that text; without one, the metadata is empty."""
    length = int.from_bytes(content[:4], "little")
    if 0 < length <= len(content) - 4:
        try:
            metadata = json.loads(content[4 : 4 + length])
        except ValueError:
            return {}, content
        if isinstance(metadata, dict):
            return metadata, content[4 + length :]
    return {}, content


def join_header(manifest: ArtifactManifest, plan: bytes) -> bytes:
    """The plan as Ultralytics reads it: with a header made from the manifest."""
    metadata = {
        "task": manifest.task,
        "names": dict(enumerate(manifest.classes)),
        "imgsz": list(manifest.imgsz),
        "batch": manifest.max_batch or manifest.batch,
        "stride": manifest.stride,
        "channels": 3,
        "end2end": manifest.end_to_end,
        "args": {"dynamic": manifest.batch == -1, "nms": manifest.embedded_nms or None},
    }
    text = json.dumps(metadata).encode()
    return len(text).to_bytes(4, "little") + text + plan


def product_label(device_name: str) -> str:
    """A GPU's name as GPU feature discovery writes it into `nvidia.com/gpu.product`."""
    return "-".join(device_name.split())


def _gpu(spec: Export) -> tuple[str, str]:
    """Product label and compute capability of this pod's GPU, which must be the wanted type."""
    import torch

    if not torch.cuda.is_available():
        raise RetryableError(
            "GpuUnavailable",
            f"export {spec.name}: the pod sees no GPU: check that the image has CUDA and that "
            "spec.scheduling.runtimeClassName is that of the NVIDIA runtime",
        )
    found = product_label(torch.cuda.get_device_name(0))
    wanted = (spec.gpu_product or found).removesuffix(SHARED_SUFFIX)
    if found != wanted:
        raise UserError(
            "GpuMismatch",
            f"export {spec.name} is for gpuProduct {wanted}, but the pod runs on {found}, and an "
            "engine only runs on the GPU type it was built on: correct gpuProduct or the node's "
            "label nvidia.com/gpu.product",
        )
    major, minor = torch.cuda.get_device_capability(0)
    return spec.gpu_product or found, f"{major}.{minor}"


def _calibration(run: ExportRun, data: Path | None) -> dict[str, Any]:
    if data is None:
        raise UserError(
            "ExportFailed", f"export {run.export.name}: int8 needs a dataset to calibrate on"
        )
    images = sum(1 for path in (data / "images" / "train").rglob("*") if path.is_file())
    log.info("calibrating on %d of %d images", min(images, CALIBRATION_IMAGES), images)
    batch = _max_batch(run.export) or 1
    if images < batch:
        raise UserError(
            "ExportFailed",
            f"export {run.export.name}: int8 is calibrated in batches of {batch} images, and the "
            f"training split has {images}: use a smaller batch, or fp16",
        )
    return {
        "data": str(data / DATA_FILE),
        "split": "train",
        "fraction": min(1.0, max(CALIBRATION_IMAGES, batch) / images),
    }


def _max_batch(spec: Export) -> int | None:
    """Largest batch of the engine's profile (minimum 1, optimum and maximum this); None for an
    engine without one, which computes one image at a time."""
    if spec.dynamic or spec.batched:
        return spec.max_batch or DYNAMIC_BATCH
    return None


def _tensors(plan: bytes) -> tuple[str, list[TensorSpec], tuple[TensorSpec, ...]]:
    """TensorRT's version, and the engine's inputs and outputs."""
    import tensorrt

    runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.WARNING))
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise RuntimeError("TensorRT cannot read the engine that it built")
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        spec = TensorSpec(
            name=name,
            dtype=_DTYPES[engine.get_tensor_dtype(name).name],
            shape=tuple(engine.get_tensor_shape(name)),
        )
        is_input = engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
        (inputs if is_input else outputs).append(spec)
    # The detections first, as in the ONNX file; TensorRT promises no order.
    outputs.sort(key=lambda one: one.name == EMBEDDING)
    return str(tensorrt.__version__), inputs, tuple(outputs)


def _manifest(
    path: Path,
    spec: Export,
    metadata: dict[str, Any],
    image: TensorSpec,
    outputs: tuple[TensorSpec, ...],
    target: EngineTarget,
) -> ArtifactManifest:
    names = metadata["names"]
    try:
        return ArtifactManifest(
            format="tensorrt",
            file=file_of(path),
            # JSON turned the class ids into texts.
            classes=tuple(names[str(index)] for index in range(len(names))),
            imgsz=(metadata["imgsz"][0], metadata["imgsz"][1]),
            input=image,
            outputs=outputs,
            embedding=embedding_of(outputs),
            end_to_end=bool(metadata.get("end2end")),
            stride=int(metadata["stride"]),
            dynamic=spec.dynamic,
            max_batch=_max_batch(spec),
            precision=spec.precision,
            engine=target,
            ultralytics_version=metadata.get("version"),
        )
    except ValidationError as error:
        detail = "; ".join(one["msg"] for one in error.errors())
        raise UserError(
            "ExportFailed", f"export {spec.name}: the engine cannot be served: {detail}"
        ) from error
