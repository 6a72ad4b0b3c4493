"""Models and images that surprise, with the real Ultralytics: refused before they cost anything,
or the same for the trainer as for the server.

python -m pytest tests/workloads/train      # where Ultralytics is: in the trainer image
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract import exitcodes
from modelyard.contract.result import ExportResult
from modelyard.contract.run import StoreLocation
from modelyard.store import Store

pytestmark = pytest.mark.e2e

SIZE = 160
"""Pixels: RT-DETR chooses 300 of the grids' cells, and smaller images have fewer."""


def store_of(runner: Any) -> Store:
    return Store.open(StoreLocation(**runner.store))


def run_python(program: str, *arguments: str) -> str:
    """Run a program where `environment.load` has been called; returns what it printed."""
    head = (
        "import sys\nfrom pathlib import Path\n"
        "from modelyard.workloads.train import environment\n"
        "environment.load(Path(sys.argv[1]), 1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", head + program, *arguments],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Models:
    """Untrained networks, made when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, *, dynamic: bool | None = None) -> Path:
        """A network as .pt, or as ONNX with fixed or with dynamic axes."""
        made = self._folder / f"{name}-{dynamic}"
        if not made.exists():
            run_python(
                f"""
from ultralytics import RTDETR, YOLO
kind = RTDETR if "rtdetr" in {name!r} else YOLO
pt = Path(sys.argv[2]).with_suffix(".pt")
kind("{name}.yaml").save(pt)
if {dynamic} is not None:
    pt = Path(kind(pt).export(format="onnx", imgsz={SIZE}, dynamic={dynamic}, simplify=False,
                              device="cpu"))
pt.rename(sys.argv[2])
""",
                str(self._folder / "scratch"), str(made),
            )  # fmt: skip
        return made


@pytest.fixture(scope="session")
def models(runner: Any, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


def export_run(digest: str, source: str) -> dict[str, Any]:
    return {
        "kind": "export",
        "weights": {"digest": digest, "format": source},
        "export": {"name": "onnx", "format": "onnx"},
    }


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(
    ("name", "reason", "says"),
    [
        ("yolo11n-obb", "TaskMismatch", "task obb"),
        ("yolo11n-pose", "TaskMismatch", "task pose"),
        ("yolo11n-seg", "TaskMismatch", "task segment"),
        ("yolov8n-rtdetr", "ModelUnsupported", "head RTDETRDecoder"),
    ],
)
def test_an_onnx_file_of_another_kind_is_refused_whatever_its_axes(
    runner: Any, models: Models, name: str, reason: str, says: str, dynamic: bool
) -> None:
    digest = store_of(runner).put_file(models(name, dynamic=dynamic))
    outcome = runner.run("export", export_run(digest, "onnx"), exitcodes.USER_ERROR)
    assert outcome.reason == reason
    assert says in outcome.message


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", ["yolo11n-obb", "yolo11n-pose", "yolov8n-rtdetr"])
def test_an_onnx_file_without_task_and_head_is_refused_by_what_it_answers(
    runner: Any, models: Models, name: str, dynamic: bool
) -> None:
    """As earlier releases of Ultralytics write them."""
    import onnx

    model = onnx.load(str(models(name, dynamic=dynamic)))
    kept = [one for one in model.metadata_props if one.key not in ("task", "head", "kpt_shape")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    digest = store_of(runner).put_bytes(model.SerializeToString())
    outcome = runner.run("export", export_run(digest, "onnx"), exitcodes.USER_ERROR)
    assert outcome.reason in ("ModelUnsupported", "ExportFailed")


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_a_detector_is_taken_whatever_its_axes(runner: Any, models: Models, dynamic: bool) -> None:
    digest = store_of(runner).put_file(models("yolo11n", dynamic=dynamic))
    outcome = runner.run("export", export_run(digest, "onnx"))
    assert outcome.of(ExportResult).artifact.digest == digest


@pytest.mark.parametrize(
    ("name", "reason"),
    [("yolo11n-obb", "TaskMismatch"), ("yolov8n-rtdetr", "ModelUnsupported")],
)
@pytest.mark.parametrize("workload", ["train", "export"])
def test_a_checkpoint_of_another_kind_is_neither_trained_nor_exported(
    runner: Any, models: Models, name: str, reason: str, workload: str
) -> None:
    digest = store_of(runner).put_file(models(name))
    run = export_run(digest, "pt")
    if workload == "train":
        run = runner.training("other", model=None, baseWeights={"digest": digest})
    outcome = runner.run(workload, run, exitcodes.USER_ERROR)
    assert outcome.reason == reason
    assert "epoch 1/" not in runner.log()


@pytest.mark.parametrize("name", ["rtdetr-l.yaml", "rtdetr-l.pt", "yolov8-rtdetr.yaml"])
def test_names_of_other_models_are_not_known(runner: Any, name: str) -> None:
    outcome = runner.run("train", runner.training("other", model=name), exitcodes.USER_ERROR)
    assert outcome.reason == "UnknownModel"


def test_every_architecture_that_is_offered_has_a_detection_head(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    run_python(
        """
from ultralytics import YOLO
from modelyard.workloads.train import initial, servable
names = [n for n in initial.architectures() if n in ("yolo11n.yaml", "yolov8n-p2.yaml")
         or n.startswith(("yolov3-tiny", "yolov10n", "yolo26n", "yolov9t", "yolov5n"))]
assert len(names) > 6, names
for name in names:
    servable.require(YOLO(name), name)
""",
        str(tmp_path / "scratch"),
    )


def test_the_trainer_sees_a_turned_image_as_the_server_does(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    run_python(
        """
import io
import numpy as np
from PIL import Image
from ultralytics.data.dataset import YOLODataset
from modelyard.serving.models import decode as server
root = Path(sys.argv[2])
for kind in ("images", "labels"):
    (root / kind / "train").mkdir(parents=True)
picture = np.zeros((40, 60, 3), np.uint8)
picture[:15, :15], picture[:15, -15:] = 255, (255, 0, 0)
for kind in ("JPEG", "PNG", "WEBP"):
    for value in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = value
        path = root / "images" / "train" / f"{value}.{kind.lower()}"
        Image.fromarray(picture).save(path, kind, exif=exif, quality=95)
        (root / "labels" / "train" / f"{value}.txt").write_text("0 0.5 0.5 0.5 0.5\\n")
data = {"names": {0: "a"}, "nc": 1, "channels": 3}
dataset = YOLODataset(img_path=str(root / "images" / "train"), data=data, task="detect",
                      imgsz=60, augment=False, rect=False)
assert len(dataset.im_files) == 24, dataset.im_files
for number, name in enumerate(dataset.im_files):
    expected = server.decode(Path(name).read_bytes())
    image, original, _ = dataset.load_image(number)
    assert original == expected.shape[:2], name
    assert np.array_equal(image, expected), name
    assert dataset.labels[number]["shape"] == expected.shape[:2], name
""",
        str(tmp_path / "scratch"), str(tmp_path / "data"),
    )  # fmt: skip


def broken(runner: Any, split: str) -> str:
    """The dataset with a label that Ultralytics does not take; returns its digest."""
    store = store_of(runner)
    index = json.loads(store.get_bytes(runner.dataset))
    (part,) = [one for one in index["splits"] if one["name"] == split]
    content = io.BytesIO()
    shard = io.BytesIO(store.get_bytes(part["shards"][0]["digest"]))
    with (
        tarfile.open(fileobj=shard) as source,
        tarfile.open(fileobj=content, mode="w") as target,
    ):
        for member in source:
            data = source.extractfile(member)
            assert data is not None
            text = data.read()
            if member.name == f"labels/{split}/003.txt":
                text = b"0 1.5 0.5 0.5 0.5\n"
                member.size = len(text)
            target.addfile(member, io.BytesIO(text))
    part["shards"][0] |= {
        "digest": store.put_bytes(content.getvalue()),
        "sizeBytes": len(content.getvalue()),
    }
    return store.put_bytes(json.dumps(index).encode())


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_image_that_ultralytics_leaves_out_ends_the_training_before_its_first_epoch(
    runner: Any, split: str
) -> None:
    run = runner.training("left-out") | {"datasetDigest": broken(runner, split)}
    outcome = runner.run("train", run, exitcodes.USER_ERROR)
    assert outcome.reason == "ImagesLeftOut"
    assert f"images of split {split}" in outcome.message
    assert "003.png" in outcome.message
    assert "epoch 1/" not in runner.log()


def test_an_evaluation_that_leaves_an_image_out_has_no_figures(runner: Any, models: Models) -> None:
    digest = store_of(runner).put_file(models("yolo11n"))
    index = json.loads(store_of(runner).get_bytes(broken(runner, "val")))
    index["classes"] = [f"{i}" for i in range(80)]
    run = {
        "kind": "evaluate",
        "weights": {"digest": digest},
        "artifacts": [],
        "datasetDigest": store_of(runner).put_bytes(json.dumps(index).encode()),
        "evaluation": {"split": "val"},
    }
    outcome = runner.run("evaluate", run, exitcodes.USER_ERROR)
    assert outcome.reason == "ImagesLeftOut"
    assert "used 15 of the 16 images of split val" in outcome.message
