"""One object of each kind is deleted while its work is under way."""

from __future__ import annotations

from ...fake_status import data_outcome
from ..actor import Ending
from ..scene import Scene
from .dataset import HTTP
from .version import ready_version, version_spec
from .workload import Step, Workload

TRAINING = {
    "model": "yolo11n.yaml",
    "dataset": {"name": "whole"},
    "output": {"modelLine": "cut"},
}


def _prepare(scene: Scene) -> None:
    ready_version(scene, "lane", 1)


def _create(scene: Scene) -> None:
    scene.create("Dataset", "half", HTTP)
    scene.create("ModelVersion", "open-1", version_spec("open", 1))
    scene.create("Deployment", "lane", {"modelLine": "lane"})


def _under_way(scene: Scene) -> bool:
    return (
        scene.phase("Dataset", "half") == "Fetching"
        and scene.phase("ModelVersion", "open-1") == "Exporting"
        and scene.phase("Deployment", "lane") == "Healthy"
        and len(scene.live("Job")) == 2
    )


def _delete(scene: Scene) -> None:
    scene.delete("TrainingJob", "cut")
    scene.delete("Dataset", "half")
    scene.delete("ModelVersion", "open-1")
    scene.delete("Deployment", "lane")


def _deleted(scene: Scene) -> bool:
    children = scene.left("Pod", "Service", "ModelServer", "apps/Deployment", "TrainingJob")
    return len(scene.live("Job")) == 1 and all("whole" in name for name in children)


def _rest(scene: Scene) -> None:
    scene.delete("Dataset", "whole")
    scene.delete("ModelVersion", "lane-1")


DELETION = Workload(
    name="deletion",
    prepare=_prepare,
    script={
        ("Dataset/half", "main"): (Ending(),),
        ("Dataset/whole", "main"): (Ending(data_outcome()),),
        ("TrainingJob/cut", "main"): (Ending(),),
        ("ModelVersion/open-1", "export-onnx"): (Ending(),),
    },
    steps=(
        Step("create", _create, _under_way),
        Step(
            "data",
            lambda scene: scene.create("Dataset", "whole", HTTP),
            lambda scene: scene.phase("Dataset", "whole") == "Ready",
        ),
        Step(
            "train",
            lambda scene: scene.create("TrainingJob", "cut", TRAINING),
            lambda scene: scene.status("TrainingJob", "cut").get("progress"),
            last_of_life=True,
        ),
        Step("delete", _delete, _deleted),
        Step("delete the rest", _rest, lambda scene: scene.empty()),
    ),
)
