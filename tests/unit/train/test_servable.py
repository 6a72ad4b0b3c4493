"""What is trained, exported and adopted is what the serving steps read, whatever it is called."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.api.export import Export
from modelyard.api.trainingjob import NOT_SERVED
from modelyard.contract.manifest import ArtifactFile, ArtifactManifest, TensorSpec
from modelyard.workloads.errors import UserError
from modelyard.workloads.export import onnxfile, probe
from modelyard.workloads.train import servable, used

helper = pytest.importorskip("onnx.helper")

DETECTORS = (
    "yolo11n.pt", "yolo26s.pt", "yolo12x.yaml", "yolov8n-oiv7.pt", "yolov8-p2.yaml", "yolov5n6u.pt",
    "yolov3-tiny.yaml", "yolov9t.pt", "yolov10b.yaml", "yolo26n-objv1-150.pt", "yolov8-ghost.yaml",
    "shelf-segments.pt", "my-obb-free.pt", "sample.pt", "yolo26n-distill.pt",
)  # fmt: skip
OTHERS = (
    "rtdetr-l.pt", "rtdetr-l.yaml", "rtdetr-resnet50.yaml", "yolov8-rtdetr.yaml", "yolo11n-seg.pt",
    "yolo11n-obb.yaml", "yolov8x-pose-p6.pt", "yolo26n-sem-ade20k.pt", "yolo26n-depth.pt",
    "yolov8s-world.pt", "yolov8s-worldv2.pt", "yoloe-11s-seg.pt", "yolo_nas_s.pt", "sam2.1_b.pt",
    "mobile_sam.pt", "FastSAM-s.pt", "yolo11n-cls.pt", "yolo11n-grayscale.pt", "sam_b.pt",
)  # fmt: skip


def test_names_of_ultralytics_tell_detectors_from_others() -> None:
    assert [name for name in DETECTORS if re.match(NOT_SERVED, name)] == []
    assert [name for name in OTHERS if not re.match(NOT_SERVED, name)] == []


def loaded(head: str, task: str = "detect", **yaml: Any) -> Any:
    """What of Ultralytics' YOLO tells what it is; the real ones: tests/workloads/train."""
    network = SimpleNamespace(model=[type(head, (), {})()], yaml=yaml)
    return SimpleNamespace(task=task, model=network)


@pytest.mark.parametrize("head", ["Detect", "v10Detect"])
def test_detectors_pass(head: str) -> None:
    servable.require(loaded(head, channels=3), "best.pt")


@pytest.mark.parametrize(
    ("model", "reason", "says"),
    [
        (loaded("OBB", "obb"), "TaskMismatch", "best.pt is a model for task obb"),
        (loaded("RTDETRDecoder"), "ModelUnsupported", "best.pt has the head RTDETRDecoder"),
        (loaded("WorldDetect"), "ModelUnsupported", "best.pt has the head WorldDetect"),
        (loaded("Detect", channels=1), "ModelUnsupported", "takes images with 1 channels"),
    ],
)
def test_a_file_that_cannot_be_served_is_refused(model: Any, reason: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        servable.require(model, "best.pt")
    assert caught.value.reason == reason


def onnx_file(folder: Path, shape: list[Any], **metadata: str) -> tuple[Path, Any]:
    """An ONNX file with the metadata that Ultralytics writes."""
    import onnx

    kind = onnx.TensorProto.FLOAT
    image = helper.make_tensor_value_info("images", kind, shape)
    output = helper.make_tensor_value_info("output0", kind, [shape[0], None, None])
    node = helper.make_node("Identity", ["images"], ["output0"])
    model = helper.make_model(helper.make_graph([node], "net", [image], [output]))
    known = {"names": "{0: 'a', 1: 'b', 2: 'c'}", "stride": "32", "imgsz": "[64, 64]"}
    for key, value in (known | metadata).items():
        model.metadata_props.add(key=key, value=value)
    path = folder / "best.onnx"
    path.write_bytes(model.SerializeToString())
    return path, model


STATIC, DYNAMIC = [1, 3, 64, 64], ["batch", 3, "height", "width"]


@pytest.mark.parametrize("shape", [STATIC, DYNAMIC], ids=["static", "dynamic"])
@pytest.mark.parametrize(
    ("metadata", "reason", "says"),
    [
        ({"task": "obb"}, "TaskMismatch", "is a model for task obb"),
        ({"task": "pose"}, "TaskMismatch", "is a model for task pose"),
        ({"task": "segment"}, "TaskMismatch", "is a model for task segment"),
        ({"task": "detect", "head": "RTDETRDecoder"}, "ModelUnsupported", "RTDETRDecoder"),
        ({"task": "detect", "channels": "1"}, "ModelUnsupported", "1 channels"),
    ],
)
def test_an_onnx_file_that_cannot_be_served_is_refused_whatever_its_axes(
    shape: list[Any], metadata: dict[str, str], reason: str, says: str, tmp_path: Path
) -> None:
    path, model = onnx_file(tmp_path, shape, **metadata)
    with pytest.raises(UserError, match=says) as caught:
        onnxfile.describe(path, model, Export())
    assert caught.value.reason == reason


def manifest(classes: int, size: int, *, end_to_end: bool = False) -> ArtifactManifest:
    dynamic = TensorSpec(name="x", dtype="FP32", shape=(-1, -1, -1))
    return ArtifactManifest(
        format="onnx",
        file=ArtifactFile(name="best.onnx", digest="sha256:" + "0" * 64, size_bytes=1),
        classes=tuple(f"c{i}" for i in range(classes)),
        imgsz=(size, size),
        input=TensorSpec(name="images", dtype="FP32", shape=(-1, 3, -1, -1)),
        outputs=(dynamic,),
        end_to_end=end_to_end,
        dynamic=True,
    )


@pytest.mark.parametrize(
    ("answer", "described"),
    [
        ((1, 7, 8400), manifest(3, 640)),
        ((1, 7, 84), manifest(3, 64)),  # P3 to P5
        ((1, 7, 340), manifest(3, 64)),  # with P2
        ((1, 7, 20), manifest(3, 64)),  # yolov3-tiny
        ((1, 300, 6), manifest(3, 640, end_to_end=True)),
    ],
)
def test_answers_of_detection_heads(answer: tuple[int, ...], described: ArtifactManifest) -> None:
    assert probe.fits(answer, described)


@pytest.mark.parametrize(
    ("answer", "described"),
    [
        pytest.param((1, 300, 7), manifest(3, 640), id="RT-DETR"),
        pytest.param((1, 300, 300), manifest(296, 640), id="RT-DETR with 296 classes"),
        pytest.param((1, 8, 8400), manifest(3, 640), id="rotated boxes"),
        pytest.param((1, 39, 8400), manifest(3, 640), id="masks"),
        pytest.param((1, 300, 7), manifest(3, 640, end_to_end=True), id="rotated, end to end"),
        pytest.param((1, 3), manifest(3, 640), id="a classifier"),
        pytest.param((), manifest(3, 640), id="a number"),
    ],
)
def test_answers_of_other_heads(answer: tuple[int, ...], described: ArtifactManifest) -> None:
    assert not probe.fits(answer, described)


class Images:
    """What of Ultralytics' dataset tells which images it uses."""

    def __init__(self, names: str, left_out: str = "", fraction: float = 1.0) -> None:
        self.fraction, self.img_path = fraction, "images/train"
        self.found = [f"images/train/{name}.jpg" for name in names]
        self.im_files = [one for one in self.found if one[13] not in left_out]

    def get_img_files(self, _path: str) -> list[str]:
        return self.found


def test_an_image_that_ultralytics_leaves_out_ends_the_training() -> None:
    used.require_all("train", Images("abc"), {"train": 3})
    used.require_all("train", Images("ab", fraction=0.5), {"train": 4})
    used.require_all("train", Images("ab", fraction=2), {"train": 4})
    with pytest.raises(UserError, match=r"uses 2 of the 3 images of split train .* not b.jpg:"):
        used.require_all("train", Images("abc", left_out="b"), {"train": 3})
    with pytest.raises(UserError, match="uses 3 of the 4 images"):
        used.require_all("train", Images("abc"), {"train": 4})


def test_an_evaluation_must_have_seen_every_image() -> None:
    used.require_seen(16, "val", 16)
    for seen in (15, 0, None):
        with pytest.raises(UserError, match="of the 16 images of split val"):
            used.require_seen(seen, "val", 16)
