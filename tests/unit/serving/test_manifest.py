"""What a manifest accepts, and what it says of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from modelyard.contract.manifest import ArtifactManifest, embedding_of, parse_manifest

TARGET = {"gpuProduct": "Orin", "computeCapability": "8.7", "tensorrtVersion": "10.3.0"}


def build(**changes: Any) -> ArtifactManifest:
    fields = {
        "format": "onnx",
        "file": {"name": "best.onnx", "digest": "sha256:" + "0" * 64, "sizeBytes": 5},
        "classes": ["cat", "dog"],
        "imgsz": [64, 64],
        "input": {"name": "images", "dtype": "FP32", "shape": [1, 3, 64, 64]},
        "outputs": [{"name": "output0", "dtype": "FP32", "shape": [1, 6, 84]}],
    }
    return ArtifactManifest.model_validate(fields | changes)


def output(*shape: int) -> dict[str, Any]:
    return {"outputs": [{"name": "output0", "dtype": "FP32", "shape": list(shape)}]}


def test_a_manifest_survives_being_stored():
    manifest = build()

    assert parse_manifest(manifest.dump()) == manifest
    assert parse_manifest(manifest.dump()).dump() == manifest.dump()


def test_fields_of_a_newer_exporter_are_ignored():
    assert parse_manifest(build().dump()[:-1] + b',"newField":1}') == build()


@pytest.mark.parametrize(
    ("changes", "suppressed"),
    [
        (output(1, 300, 6) | {"endToEnd": True}, True),
        (output(1, 300, 6) | {"embeddedNms": True}, True),
        (output(-1, 6, -1), False),
        ({"input": {"name": "x", "dtype": "FP16", "shape": [-1, 3, -1, -1]}}, False),
        ({"format": "tensorrt", "engine": TARGET}, False),
    ],
)
def test_layouts(changes, suppressed):
    assert build(**changes).suppressed is suppressed


def with_embedding(*shape: int, size: int = 256, dtype: str = "FP32") -> dict[str, Any]:
    second = {"name": "embedding", "dtype": dtype, "shape": list(shape)}
    return {
        "outputs": [*output(1, 6, 84)["outputs"], second],
        "embedding": {"output": "embedding", "size": size},
    }


def test_the_embedding_is_an_output_that_clients_do_not_see():
    manifest = build(**with_embedding(1, 256))
    assert parse_manifest(manifest.dump()) == manifest
    assert [one.name for one in manifest.public_outputs] == ["output0"]
    assert embedding_of(manifest.outputs) == manifest.embedding
    # A manifest of an earlier release says nothing of it, and has the bytes that it had.
    assert build().embedding is None
    assert build().public_outputs == build().outputs
    assert b"embedding" not in build().dump()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (with_embedding(1, 128), r"is not an output of FP32 \[batch, 256\]"),
        (with_embedding(1, 256, 1), "is not an output of FP32"),
        (with_embedding(1, 256, dtype="FP16"), "is not an output of FP32"),
        (with_embedding(1, 9999, size=9999), "less than or equal to 4096"),
        ({"embedding": {"output": "output0", "size": 84}}, "after the first one"),
        ({"format": "tensorrt"}, "`engine` is set for format tensorrt"),
        ({"engine": TARGET}, "`engine` is set for format tensorrt"),
        ({"classes": ["cat", ""]}, "class 1 has an empty name"),
        ({"imgsz": [64, 65]}, "multiples of the stride 32"),
        ({"imgsz": [96, 96]}, r"does not take images of \[batch, 3, 96, 96\]"),
        (output(1, 7, 84), r"is not \[batch, 6, boxes\], 4 coordinates and 2 classes"),
        (output(1, 6), "does not have 3 dimensions"),
        (output(1, 300, 7) | {"endToEnd": True}, r"is not \[batch, boxes, 6\]"),
        (output(1, 0, 84), "neither positive nor -1"),
        (
            {"input": {"name": "x", "dtype": "UINT8", "shape": [1, 3, 64, 64]}},
            "type UINT8 is not FP32 or FP16",
        ),
    ],
)
def test_contradictions_are_named(changes, message):
    with pytest.raises(ValidationError, match=message):
        build(**changes)
