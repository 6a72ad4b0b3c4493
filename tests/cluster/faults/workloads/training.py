"""A TrainingJob waits for its Dataset, fails, is retried, and becomes a ModelVersion."""

from __future__ import annotations

from modelyard.contract import exitcodes
from modelyard.contract.result import Outcome

from ...fake_status import data_outcome, train_outcome
from ..actor import Ending
from ..scene import Scene
from .dataset import HTTP
from .workload import Step, Workload

SPEC = {
    "model": "yolo11n.yaml",
    "dataset": {"name": "later"},
    "hyperparameters": {"epochs": 2},
    "output": {"modelLine": "till"},
}
MISTAKE = Outcome(reason="WeightsUnavailable", message="no such weights")
RETRY = {"metadata": {"annotations": {"modelyard.dev/retry": "1"}}}


def _waits(scene: Scene) -> bool:
    return "later" in str(scene.status("TrainingJob", "till").get("message"))


def _published(scene: Scene) -> bool:
    done = scene.phase("TrainingJob", "till") == "Succeeded"
    return done and scene.phase("ModelVersion", "till-1") == "Exporting"


def _rest(scene: Scene) -> None:
    scene.delete("ModelVersion", "till-1")
    scene.delete("Dataset", "later")


TRAINING = Workload(
    name="training",
    script={
        ("Dataset/later", "main"): (Ending(data_outcome()),),
        ("TrainingJob/till", "main"): (
            Ending(MISTAKE, exitcodes.USER_ERROR),
            Ending(train_outcome()),
        ),
    },
    steps=(
        Step("create", lambda scene: scene.create("TrainingJob", "till", SPEC), _waits),
        Step(
            "its dataset comes",
            lambda scene: scene.create("Dataset", "later", HTTP),
            lambda scene: scene.phase("TrainingJob", "till") == "Failed",
        ),
        Step(
            "retry",
            lambda scene: scene.patch("TrainingJob", "till", RETRY),
            _published,
            last_of_life=True,
        ),
        Step(
            "delete",
            lambda scene: scene.delete("TrainingJob", "till"),
            lambda scene: not scene.left("TrainingJob"),
        ),
        Step("delete the rest", _rest, lambda scene: scene.empty()),
    ),
)
