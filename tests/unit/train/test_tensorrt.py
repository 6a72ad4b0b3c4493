"""TensorRT export without a GPU: everything around the builder, against the documented API.

Stand-ins, by name: `torch.cuda` (is_available, get_device_name, get_device_capability),
`tensorrt` (Logger, Runtime.deserialize_cuda_engine, ICudaEngine's named tensors, TensorIOMode) and
`ultralytics.YOLO.export`, which writes what Ultralytics' exporter writes: an ONNX file, by
`Exporter.export_onnx`, and from it header and plan. The
signatures are those of https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/.
"""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import pytest

from modelyard.api.export import Export
from modelyard.api.modelversion import WeightsSource
from modelyard.contract.manifest import Embedding, parse_manifest
from modelyard.contract.run import ExportRun, ObjectId, StoreLocation
from modelyard.store import Store
from modelyard.workloads.errors import RetryableError, UserError
from modelyard.workloads.export import tensorrtfile

from ..export.networks import CHANNELS, detector

PLAN = b"ftrt" + bytes(range(256))
HEADER = {
    "task": "detect", "stride": 32, "batch": 1, "imgsz": [96, 64], "end2end": False,
    "names": {"0": "cat", "1": "dog"}, "version": "8.4.190",
}  # fmt: skip


class DataType(Enum):
    FLOAT = 0
    HALF = 1


class TensorIOMode(Enum):
    INPUT = 1
    OUTPUT = 2


class Engine:
    """ICudaEngine, with the outputs that the ONNX file had, the last one first."""

    TENSORS = (
        ("images", DataType.FLOAT, TensorIOMode.INPUT, (1, 3, 96, 64)),
        ("embedding", DataType.FLOAT, TensorIOMode.OUTPUT, (1, CHANNELS)),
        ("output0", DataType.HALF, TensorIOMode.OUTPUT, (1, 6, 126)),
    )

    def __init__(self, batch: int, outputs: list[str]) -> None:
        self.batch = batch
        self.tensors = [one for one in self.TENSORS if one[0] in ("images", *outputs)]
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return self.tensors[index][0]

    def _of(self, name: str) -> tuple[Any, ...]:
        return next(one for one in self.tensors if one[0] == name)

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._of(name)[1]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._of(name)[2]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.batch, *self._of(name)[3][1:])


class Gpu:
    """What the stand-ins do and were asked for."""

    def __init__(self) -> None:
        self.available = True
        self.name = "NVIDIA H100 80GB HBM3"
        self.asked: dict[str, Any] = {}
        self.fails: Exception | None = None
        self.read: bytes | None = None
        self.network = detector()
        self.outputs: list[str] = []
        """Of the ONNX file that the engine is built from."""
        self.batch = 1
        """First size of the engine's tensors."""
        self.axes: dict[str, dict[int, str]] | None = None
        """Dynamic axes of the ONNX file that the engine was built from."""

    def convert(self, *, dynamic: dict[str, dict[int, str]] | None) -> None:
        """`ultralytics.utils.export.engine.torch2onnx`."""
        self.axes = dynamic
        self.batch = -1 if dynamic else 1


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    gpu = Gpu()

    class Exporter:
        def __init__(self, path: Path) -> None:
            self.path = path

        def export_onnx(self, prefix: str = "") -> str:
            file = str(self.path.with_suffix(".onnx"))
            onnx.save(gpu.network, file)
            return file

    class YOLO:
        task = "detect"

        def __init__(self, path: str) -> None:
            self.path = Path(path)
            self.overrides = {"imgsz": 96}
            head = type("Detect", (), {})()
            self.model = SimpleNamespace(stride=[8, 16, 32], model=[head], yaml={})

        def export(self, **settings: Any) -> str:
            gpu.asked = settings
            from ultralytics.utils.export import engine

            axes = {"images": {0: "batch", 2: "height"}, "output0": {0: "batch", 2: "anchors"}}
            engine.torch2onnx(dynamic=axes if settings["dynamic"] else None)
            if gpu.fails:
                raise gpu.fails
            file = Exporter(self.path).export_onnx(prefix="ONNX:")
            gpu.outputs = [one.name for one in onnx.load(file).graph.output]
            text = json.dumps(HEADER).encode()
            file = self.path.with_suffix(".engine")
            file.write_bytes(len(text).to_bytes(4, "little", signed=True) + text + PLAN)
            return str(file)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            assert isinstance(logger, Logger)

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            gpu.read = plan
            return Engine(gpu.batch, gpu.outputs) if plan == PLAN else None

    class Logger:
        WARNING = 2

        def __init__(self, level: int) -> None:
            assert level == self.WARNING

    modules = {
        "torch": {
            "cuda": SimpleNamespace(
                is_available=lambda: gpu.available,
                get_device_name=lambda index: gpu.name,
                get_device_capability=lambda index: (9, 0),
            )
        },
        "ultralytics": {"YOLO": YOLO},
        "ultralytics.engine": {},
        "ultralytics.engine.exporter": {"Exporter": Exporter},
        "ultralytics.utils": {},
        "ultralytics.utils.export": {"engine": SimpleNamespace(torch2onnx=gpu.convert)},
        "tensorrt": {
            "Runtime": Runtime, "Logger": Logger, "TensorIOMode": TensorIOMode,
            "__version__": "10.9.0.34",
        },
    }  # fmt: skip
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return gpu


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(StoreLocation(url=f"file://{tmp_path}/store"))


def run(tmp_path: Path, **export: Any) -> ExportRun:
    spec = {"name": "trt", "format": "tensorrt", "gpu_product": "NVIDIA-H100-80GB-HBM3"} | export
    return ExportRun(
        object=ObjectId(namespace="n", name="m", uid="u"),
        store=StoreLocation(url=f"file://{tmp_path}/store"),
        weights=WeightsSource(digest="sha256:" + "0" * 64),
        export=Export(**spec),
    )


def build(tmp_path: Path, store: Store, **export: Any) -> Any:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"weights")
    return tensorrtfile.build(run(tmp_path, **export), None, file)


def test_the_artifact_is_the_bare_plan_and_the_manifest_says_where_it_runs(
    gpu: Gpu, store: Store, tmp_path: Path
) -> None:
    path, manifest = build(tmp_path, store, precision="fp16")
    assert path.read_bytes() == gpu.read == PLAN
    assert manifest.engine.model_dump() == {
        "gpu_product": "NVIDIA-H100-80GB-HBM3",
        "compute_capability": "9.0",
        "tensorrt_version": "10.9.0.34",
    }
    assert (manifest.imgsz, manifest.classes) == ((96, 64), ("cat", "dog"))
    assert (manifest.input.dtype, manifest.outputs[0].dtype) == ("FP32", "FP16")
    assert manifest.outputs[0].shape == (1, 6, 126)
    assert (manifest.precision, manifest.max_batch) == ("fp16", None)
    assert manifest.file.size_bytes == len(PLAN)
    assert parse_manifest(manifest.dump()) == manifest


def test_engines_are_built_from_the_graph_with_the_embedding(
    gpu: Gpu, store: Store, tmp_path: Path
) -> None:
    _, manifest = build(tmp_path, store)
    assert gpu.outputs == ["output0", "embedding"]
    assert [one.name for one in manifest.outputs] == ["output0", "embedding"]
    assert manifest.embedding == Embedding(output="embedding", size=CHANNELS)
    exporter = sys.modules["ultralytics.engine.exporter"].Exporter
    plain = exporter(tmp_path / "later.pt").export_onnx()
    assert [one.name for one in onnx.load(plain).graph.output] == ["output0"]


def test_an_engine_of_an_unknown_backbone_has_none(gpu: Gpu, store: Store, tmp_path: Path) -> None:
    for node in gpu.network.graph.node:
        node.name = ""
    _, manifest = build(tmp_path, store)
    assert (gpu.outputs, manifest.embedding) == (["output0"], None)


@pytest.mark.parametrize(
    ("export", "wanted"),
    [
        ({}, {"quantize": None, "batch": 1, "dynamic": False}),
        ({"precision": "fp16"}, {"quantize": 16, "batch": 1}),
        ({"dynamic": True}, {"dynamic": True, "batch": 8}),
        ({"batch": 16}, {"dynamic": True, "batch": 16}),
        ({"batch": "dynamic", "precision": "fp16"}, {"dynamic": True, "batch": 8}),
        ({"batch": 1}, {"dynamic": False, "batch": 1}),
        ({"imgsz": 64, "simplify": False, "opset": 17}, {"imgsz": 64, "opset": 17}),
    ],
)
def test_the_exporter_is_asked_for_what_the_export_declares(
    gpu: Gpu, store: Store, tmp_path: Path, export: dict, wanted: dict
) -> None:
    build(tmp_path, store, **export)
    assert gpu.asked["format"] == "engine"
    assert gpu.asked["device"] == 0
    assert {name: gpu.asked[name] for name in wanted} == wanted


@pytest.mark.parametrize(("batch", "most"), [("dynamic", 8), (16, 16)])
def test_an_engine_for_batches_keeps_its_size_and_says_how_many_it_takes(
    gpu: Gpu, store: Store, tmp_path: Path, batch: Any, most: int
) -> None:
    # Ultralytics takes what is fixed in the graph for the profile's minimum and maximum, and 1 to
    # the asked batch for what is not.
    path, manifest = build(tmp_path, store, batch=batch)
    assert gpu.axes == {"images": {0: "batch"}, "output0": {0: "batch"}}
    assert (manifest.batch, manifest.max_batch, manifest.dynamic) == (-1, most, False)
    header, _ = tensorrtfile.split_header(tensorrtfile.join_header(manifest, PLAN))
    assert (header["batch"], header["args"]["dynamic"]) == (most, True)

    spec = run(tmp_path, batch=batch).export
    assert tensorrtfile.checked_manifest(manifest.dump(), path, spec) == manifest
    with pytest.raises(UserError, match=f"batches of -1 .at most {most}., not for the declared 4"):
        tensorrtfile.checked_manifest(manifest.dump(), path, run(tmp_path, batch=4).export)
    with pytest.raises(UserError, match="not for the declared 1"):
        tensorrtfile.checked_manifest(manifest.dump(), path, run(tmp_path).export)


def test_int8_needs_as_many_images_as_the_engine_takes(
    gpu: Gpu, store: Store, tmp_path: Path
) -> None:
    images = tmp_path / "data" / "images" / "train"
    images.mkdir(parents=True)
    for number in range(12):
        (images / f"{number}.jpg").write_bytes(b"")
    file = tmp_path / "weights.pt"
    file.write_bytes(b"weights")

    def calibrated(batch: int) -> None:
        tensorrtfile.build(run(tmp_path, precision="int8", batch=batch), tmp_path / "data", file)

    calibrated(12)
    assert (gpu.asked["batch"], gpu.asked["fraction"]) == (12, 1.0)
    with pytest.raises(UserError, match="in batches of 16 images, and the training split has 12"):
        calibrated(16)


def test_another_gpu_than_the_declared_one_is_refused_before_building(
    gpu: Gpu, store: Store, tmp_path: Path
) -> None:
    gpu.name = "Tesla T4"
    with pytest.raises(UserError, match="Tesla-T4") as caught:
        build(tmp_path, store)
    assert caught.value.reason == "GpuMismatch"
    assert not gpu.asked


def test_a_time_sliced_gpu_is_the_same_gpu(gpu: Gpu, store: Store, tmp_path: Path) -> None:
    _, manifest = build(tmp_path, store, gpu_product="NVIDIA-H100-80GB-HBM3-SHARED")
    assert manifest.engine.gpu_product == "NVIDIA-H100-80GB-HBM3-SHARED"


def test_without_a_gpu_the_user_reads_what_to_check(gpu: Gpu, store: Store, tmp_path: Path) -> None:
    gpu.available = False
    with pytest.raises(RetryableError, match="runtimeClassName"):
        build(tmp_path, store)


def test_an_image_without_tensorrt_is_told_before_building(
    gpu: Gpu, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # imports of it fail
    with pytest.raises(UserError, match=r"images\.tensorrt") as caught:
        build(tmp_path, store)
    assert caught.value.reason == "TensorRtMissing"
    assert not gpu.asked


def test_int8_without_a_dataset_is_refused(gpu: Gpu, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a dataset"):
        build(tmp_path, store, precision="int8")


def test_a_failed_build_ends_with_the_exporters_last_words(
    gpu: Gpu, store: Store, tmp_path: Path
) -> None:
    gpu.fails = RuntimeError("building\n\n\x1b[31mTensorRT engine build failed\x1b[0m\n  ===\n")
    with pytest.raises(UserError) as caught:
        build(tmp_path, store)
    assert caught.value.reason == "ExportFailed"
    assert caught.value.message.endswith("RuntimeError: TensorRT engine build failed")


def test_the_header_comes_off_and_goes_back_on(gpu: Gpu, store: Store, tmp_path: Path) -> None:
    _, manifest = build(tmp_path, store)
    metadata, plan = tensorrtfile.split_header(tensorrtfile.join_header(manifest, PLAN))
    assert plan == PLAN
    assert metadata["names"] == {"0": "cat", "1": "dog"}
    assert metadata["imgsz"] == [96, 64]


@pytest.mark.parametrize("content", [b"", b"ftrt", PLAN, b"\x08\x00\x00\x00not json", b"\x01"])
def test_a_plan_without_a_header_stays_whole(content: bytes) -> None:
    assert tensorrtfile.split_header(content) == ({}, content)
