"""Which models the serving steps can serve: what a file holds decides, not its name.

They read the output of a YOLO detection head (contract/manifest.py). Models of other tasks, RT-DETR
and open-vocabulary heads train and export as well, and would be served as nonsense.
"""

from __future__ import annotations

from typing import Any

from modelyard.workloads.errors import UserError

HEADS = frozenset({"Detect", "v10Detect"})
"""Classes of ultralytics/nn/modules/head.py whose output is known."""
CHANNELS = 3


def require(model: Any, what: str) -> None:
    """Raises UserError unless Ultralytics' `model` is a detector with a YOLO head for RGB images;
    `what` names it."""
    require_task(model.task, what)
    network = model.model
    require_head(type(network.model[-1]).__name__, what)
    require_channels(network.yaml.get("channels", CHANNELS), what)


def require_head(head: str, what: str) -> None:
    """Raises UserError for a head, by its class in Ultralytics, whose output is not known."""
    if head not in HEADS:
        raise UserError(
            "ModelUnsupported",
            f"{what} has the head {head}; Modelyard trains and serves detection models with a YOLO "
            "head, such as yolo11n.pt",
        )


def require_task(task: str, what: str) -> None:
    """Raises UserError for another task than detection."""
    if task != "detect":
        raise UserError(
            "TaskMismatch",
            f"{what} is a model for task {task}; Modelyard trains and serves detection models, "
            "such as yolo11n.pt",
        )


def require_channels(channels: Any, what: str) -> None:
    """Raises UserError for a network that does not take RGB images."""
    if int(channels) != CHANNELS:
        raise UserError(
            "ModelUnsupported",
            f"{what} takes images with {channels} channels; servers send RGB images, which have 3: "
            "train a model with 3 channels, grey images work with it too",
        )
