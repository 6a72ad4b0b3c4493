"""Exports: which artifacts are made from a version's weights, and what became of them.

Part of ModelVersion (modelversion.py) and of TrainingJob (trainingjob.py), whose versions take them
over. workloads/export/ makes the artifacts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from modelyard.api.base import ApiModel, LabelValue, StatusModel, cel, rules

DYNAMIC = "dynamic"
"""`batch` of an export without a maximum."""
MAX_BATCH = 256
_BATCH: dict[str, Any] = {
    "x-kubernetes-int-or-string": True,
    "maxLength": len(DYNAMIC),
    **rules(
        cel(
            f"type(self) == int ? self >= 1 && self <= {MAX_BATCH} : self == '{DYNAMIC}'",
            f"batch is a number from 1 to {MAX_BATCH}, or {DYNAMIC}",
        )
    ),
}


class Export(ApiModel):
    """One artifact to export from the weights."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.format == 'tensorrt' || !has(self.precision) || self.precision == 'fp32'",
                "precision fp16 and int8 are for format tensorrt",
            ),
            cel(
                "self.format != 'tensorrt' || has(self.gpuProduct)",
                "a tensorrt export needs gpuProduct: an engine only runs on the GPU type it was "
                "built on",
            ),
            cel(
                "!has(self.batch) || !has(self.dynamic) || !self.dynamic",
                "batch and dynamic exclude each other: dynamic makes the batch dynamic too",
            ),
        )
    )

    name: str = Field(default="onnx", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=20)
    """Name of the artifact within the version."""
    format: Literal["onnx", "tensorrt"] = "onnx"
    """Format of the artifact: onnx runs on all nodes, tensorrt is built on and for one GPU type."""
    imgsz: int | None = Field(default=None, ge=32, le=8192)
    """Input height and width in pixels; empty for those of the training."""
    opset: int | None = Field(default=None, ge=11, le=25)
    """ONNX opset; empty for the exporter's default."""
    simplify: bool = True
    """Simplify the ONNX graph."""
    dynamic: bool = False
    """Export with dynamic batch, height and width instead of a static shape."""
    batch: int | str | None = Field(default=None, json_schema_extra=_BATCH)
    """Maximum number of images that the artifact computes at once, from 1 to 256; servers then
    compute requests together. `dynamic` sets no maximum (8 for tensorrt). Height and width stay
    fixed. Empty: 1."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Precision of a TensorRT engine; int8 calibrates on the holdout's dataset."""
    gpu_product: LabelValue | None = Field(default=None, min_length=1)
    """GPU type, the value of the node label `nvidia.com/gpu.product`, such as
    `NVIDIA-H100-80GB-HBM3` or `Orin`."""

    @property
    def batched(self) -> bool:
        """Whether the batch, and only that, is to be dynamic."""
        return self.batch not in (None, 1)

    @property
    def max_batch(self) -> int | None:
        """Most images at once that `batch` allows; None is no bound."""
        return self.batch if isinstance(self.batch, int) else None


Exports = Annotated[
    list[Export],
    Field(
        min_length=1,
        max_length=16,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    ),
]
"""Artifacts to export, with unique names."""


def default_exports() -> list[Export]:
    """One ONNX export."""
    return [Export()]


class Artifact(StatusModel):
    """One exported artifact."""

    name: str
    """Name of the export."""
    format: str
    """onnx or tensorrt."""
    digest: str
    """Content digest of the artifact file."""
    manifest_digest: str
    """Content digest of its manifest: input, outputs, classes."""
    size_bytes: int
    """Size of the artifact file in bytes."""
    gpu_product: str | None = None
    """GPU type of a tensorrt engine."""
