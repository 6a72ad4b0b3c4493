"""A Dataset is resolved, edited, found broken, deleted."""

from __future__ import annotations

from ...fake_status import broken_data_outcome, data_outcome
from ..actor import Ending
from ..scene import Scene
from .workload import Step, Workload

HTTP = {"source": {"http": {"url": "https://data.example/shelf.zip"}}}
EDITED = {"source": {"http": {"url": "https://data.example/shelf-2.zip"}}}


def _gone(scene: Scene) -> bool:
    return scene.empty()


DATASET = Workload(
    name="dataset",
    script={("Dataset/shelf", "main"): (Ending(data_outcome()), Ending(broken_data_outcome(), 0))},
    steps=(
        Step(
            "create",
            lambda scene: scene.create("Dataset", "shelf", HTTP),
            lambda scene: scene.phase("Dataset", "shelf") == "Ready",
        ),
        Step(
            "edit",
            lambda scene: scene.patch("Dataset", "shelf", {"spec": EDITED}),
            lambda scene: scene.phase("Dataset", "shelf") == "Invalid",
            last_of_life=True,
        ),
        Step("delete", lambda scene: scene.delete("Dataset", "shelf"), _gone),
    ),
)
