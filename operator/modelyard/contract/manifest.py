"""An artifact's manifest: all that a server must know about a model file to serve it.

The export workload writes it beside the model file, content-addressed like the file itself; the
agent reads it. A newer exporter may add fields, so unknown ones are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from modelyard.api.base import Digest, StatusModel

DataType = Literal["FP32", "FP16", "INT8", "UINT8", "INT32", "INT64"]
"""Tensor types, named as in the KServe v2 protocol."""

EMBEDDING = "embedding"
"""Name of the output with the network's embedding of an image."""
MAX_EMBEDDING = 4096
"""Maximum size of an embedding; YOLO11 and YOLO26 have 256 to 768."""
END_TO_END_COLUMNS = 6
"""x1, y1, x2, y2, confidence, class."""


class _Frozen(StatusModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ArtifactFile(_Frozen):
    """The model file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=255)
    """File name, such as `best.onnx`; informative."""
    digest: Digest
    """Content digest."""
    size_bytes: int = Field(gt=0)
    """Size in bytes."""


class TensorSpec(_Frozen):
    """One input or output of the network."""

    name: str = Field(min_length=1, max_length=255)
    """Name in the model file."""
    dtype: DataType
    """Element type."""
    shape: tuple[int, ...] = Field(min_length=1, max_length=8)
    """Full shape with the batch first; -1 is a dynamic dimension."""

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if any(size < -1 or size == 0 for size in self.shape):
            raise ValueError(
                f"tensor {self.name}: shape {list(self.shape)} has a size that is neither "
                "positive nor -1 (dynamic)"
            )
        return self


class EngineTarget(_Frozen):
    """What a TensorRT engine was built on, and so the only thing that it runs on."""

    gpu_product: str
    """GPU type, the value of the node label `nvidia.com/gpu.product`."""
    compute_capability: str = Field(pattern=r"^[0-9]+\.[0-9]+$")
    """CUDA compute capability, such as `8.9`."""
    tensorrt_version: str
    """TensorRT version; an engine only loads in the one it was built with."""


class Embedding(_Frozen):
    """The output with the network's embedding of an image: the mean of its backbone's last feature
    map. It is for monitoring, and no output of the public names."""

    output: str = Field(min_length=1, max_length=255)
    """Name of the output, FP32 [batch, size], among `outputs` and not the first of them."""
    size: int = Field(ge=1, le=MAX_EMBEDDING)
    """Dimensions of the embedding."""


class ArtifactManifest(_Frozen):
    """What the model file is, and how its input and outputs read."""

    format: Literal["onnx", "tensorrt"]
    """Format of the model file."""
    file: ArtifactFile
    """The model file."""
    task: Literal["detect"] = "detect"
    """Task of the model."""
    classes: tuple[str, ...] = Field(min_length=1, max_length=100_000)
    """Class names, by class id."""
    imgsz: tuple[int, int]
    """Height and width in pixels that images are letterboxed to."""
    input: TensorSpec
    """The image tensor: batch, 3 (RGB), height, width; values 0 to 1."""
    outputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=16)
    """Outputs; the first one holds the detections."""
    embedding: Embedding | None = None
    """The output with the embedding; None of a network without one, such as a file that was
    exported elsewhere."""
    embedded_nms: bool = False
    """Non-maximum suppression is part of the graph: the output is batch, boxes, 6."""
    end_to_end: bool = False
    """The head needs no suppression (YOLO26, YOLOv10): the output is batch, boxes, 6."""
    stride: int = Field(default=32, ge=1)
    """Largest stride of the network; height and width are multiples of it."""
    dynamic: bool = False
    """Height and width are dynamic, and the batch with them."""
    max_batch: int | None = Field(default=None, ge=1)
    """Most images at once, where the batch is dynamic; empty is no bound."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Precision of the computation."""
    engine: EngineTarget | None = None
    """Where a TensorRT engine runs; set for that format only."""
    ultralytics_version: str | None = None
    """Version of Ultralytics that exported the file; informative."""

    @property
    def suppressed(self) -> bool:
        """Whether the output is final boxes (batch, boxes, 6) instead of raw predictions."""
        return self.embedded_nms or self.end_to_end

    @property
    def batch(self) -> int:
        """Batch size of the input; -1 is dynamic."""
        return self.input.shape[0]

    def batch_of(self, wanted: int) -> int:
        """The batch size to compute with where up to `wanted` images are at hand."""
        if self.batch != -1:
            return self.batch
        return min(wanted, self.max_batch or wanted)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.engine is not None) != (self.format == "tensorrt"):
            raise ValueError(
                f"format {self.format}: `engine` is set for format tensorrt, and only for it"
            )
        if any(not name for name in self.classes):
            raise ValueError(f"class {self.classes.index('')} has an empty name")
        if any(size <= 0 or size % self.stride for size in self.imgsz):
            raise ValueError(
                f"imgsz {list(self.imgsz)}: height and width must be multiples of the stride "
                f"{self.stride}"
            )
        self._check_input()
        self._check_detections()
        self._check_embedding()
        return self

    def _check_input(self) -> None:
        wanted = (-1, 3, *self.imgsz)
        shape = self.input.shape
        if len(shape) != len(wanted) or any(
            size not in (-1, want) for size, want in zip(shape[1:], wanted[1:], strict=True)
        ):
            raise ValueError(
                f"input {self.input.name}: shape {list(shape)} does not take images of "
                f"[batch, 3, {self.imgsz[0]}, {self.imgsz[1]}]"
            )
        if self.input.dtype not in ("FP32", "FP16"):
            raise ValueError(
                f"input {self.input.name}: type {self.input.dtype} is not FP32 or FP16"
            )

    def _check_detections(self) -> None:
        output = self.outputs[0]
        rows = 4 + len(self.classes)
        if len(output.shape) != 3:
            raise ValueError(
                f"output {output.name}: shape {list(output.shape)} does not have 3 dimensions"
            )
        if self.suppressed and output.shape[2] not in (-1, END_TO_END_COLUMNS):
            raise ValueError(
                f"output {output.name}: shape {list(output.shape)} is not [batch, boxes, 6], "
                "which embeddedNms or endToEnd promise"
            )
        if not self.suppressed and output.shape[1] not in (-1, rows):
            raise ValueError(
                f"output {output.name}: shape {list(output.shape)} is not "
                f"[batch, {rows}, boxes], 4 coordinates and {len(self.classes)} classes"
            )

    def _check_embedding(self) -> None:
        if self.embedding is None:
            return
        name, size = self.embedding.output, self.embedding.size
        found = next((one for one in self.outputs[1:] if one.name == name), None)
        if found is None or found.dtype != "FP32" or found.shape[1:] != (size,):
            raise ValueError(
                f"embedding {name}: it is not an output of FP32 [batch, {size}] after the first one"
            )

    @property
    def public_outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs that clients see: all but the embedding."""
        hidden = self.embedding.output if self.embedding else None
        return tuple(one for one in self.outputs if one.name != hidden)

    def dump(self) -> bytes:
        """The manifest as stored: JSON in a stable order, so that equal manifests are equal
        bytes and have one digest."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


def embedding_of(outputs: Sequence[TensorSpec]) -> Embedding | None:
    """The embedding among a network's outputs, told by its name and form."""
    for one in outputs[1:]:
        if one.name == EMBEDDING and one.dtype == "FP32" and len(one.shape) == 2:
            size = one.shape[1]
            return Embedding(output=one.name, size=size) if 1 <= size <= MAX_EMBEDDING else None
    return None


def parse_manifest(text: str | bytes) -> ArtifactManifest:
    """A manifest from JSON. Raises pydantic.ValidationError, a ValueError."""
    return ArtifactManifest.model_validate_json(text)
