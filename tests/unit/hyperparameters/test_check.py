"""What a user is told about `spec.hyperparameters` before a pod starts."""

from __future__ import annotations

import time

import pytest

from modelyard.api import hyperparameters


@pytest.mark.parametrize(
    "good",
    [
        {},
        None,
        {"epochs": 3, "imgsz": 128, "batch": 8, "lr0": 0.01, "seed": 7, "optimizer": "AdamW"},
        {"epochs": 3.0, "batch": -1, "warmup_epochs": 0, "time": 0.5},
        {"batch": 0.6, "amp": "bf16", "cache": "ram", "freeze": [0, "23.cv2"], "scale": [0.5, 2]},
        {"amp": False, "cache": True, "freeze": 10, "classes": [0, 2], "fraction": 0.1},
        {"optimizer": "sgd", "patience": 0, "nms": None, "workers": 2, "augment": True},
    ],
)
def test_good_hyperparameters_have_no_problem(good: dict | None) -> None:
    assert hyperparameters.check(good) == []


@pytest.mark.parametrize(
    ("bad", "wanted"),
    [
        ({"epoch": 3}, 'did you mean "epochs"?'),
        ({"batch_size": 3}, 'did you mean "batch"?'),
        ({"learning-rate": 3}, 'did you mean "lr0"?'),
        ({"Epochs": 3}, 'did you mean "epochs"?'),
        ({"zzzzzz": 3}, "is not an argument of Ultralytics' train()."),
        ({"epochs": "10"}, 'must be a whole number, not the text "10" (remove the quotes)'),
        ({"epochs": 2.5}, "must be a whole number, not 2.5"),
        ({"epochs": True}, "must be a whole number, not true"),
        ({"epochs": None}, "has no value"),
        ({"epochs": 0}, "must be at least 1"),
        ({"lr0": 1.5}, "must lie between 0 and 1"),
        ({"cos_lr": 1}, "must be true or false, not 1"),
        ({"lr0": {"a": 1}}, 'must be a number, not {"a": 1}'),
        ({"optimizer": "AdamWW"}, 'did you mean "AdamW"?'),
        ({"split": "holdout"}, "choose one of train, val, test"),
        ({"batch": 0}, "must be a whole number of images"),
        ({"batch": 2.5}, "must be a whole number of images"),
        ({"imgsz": [64, 128]}, "training images are square"),
        ({"imgsz": 16}, "must be at least 32"),
        ({"classes": ["cat"]}, 'contains the text "cat"'),
        ({"scale": [0.1]}, "must have two numbers"),
        ({"fraction": 0}, "count of images"),
        ({"pretrained": "/etc/passwd"}, "must be true or false"),
        ({"data": "coco8.yaml"}, "set spec.dataset instead"),
        ({"model": "yolo11n.pt"}, "set spec.model or spec.baseVersion instead"),
        ({"device": 0}, "set spec.resources.gpus instead"),
        ({"resume": True}, "resumes from its last checkpoint by itself"),
        ({"format": "onnx"}, "spec.output.exports"),
        ({"tracker": "bytetrack.yaml"}, "training does not use it"),
    ],
)
def test_a_bad_one_is_named_with_what_to_do(bad: dict, wanted: str) -> None:
    (problem,) = hyperparameters.check(bad)
    assert problem.startswith(f"spec.hyperparameters.{next(iter(bad))} ")
    assert wanted in problem


def test_every_problem_is_reported_at_once() -> None:
    assert len(hyperparameters.check({"epoch": 1, "lr0": "x", "data": "y", "seed": 1})) == 3


@pytest.mark.parametrize(
    "given",
    [
        {f"epoch{i}": 1 for i in range(35_000)},
        {"epoch" * 200_000: 1},
        {"optimizer": "SGDM" * 200_000, "lr0": "1" * 1_000_000, "classes": ["x"] * 200_000},
    ],
    ids=["35,000 unknown names", "a name of 1 MB", "values of 1 MB"],
)
def test_a_check_takes_no_time_and_says_little_whatever_is_given(given: dict) -> None:
    started = time.process_time()
    found = hyperparameters.check(given)
    assert time.process_time() - started < 0.1
    assert 0 < sum(map(len, found)) < 1024


def test_the_defaults_of_ultralytics_themselves_pass() -> None:
    defaults = {n: hyperparameters.arguments()[n].default for n in hyperparameters.settable()}
    assert hyperparameters.check(defaults) == []


def test_every_reserved_name_is_refused_although_it_exists() -> None:
    assert len(hyperparameters.check(dict.fromkeys(hyperparameters.RESERVED))) == len(
        hyperparameters.RESERVED
    )
    assert not set(hyperparameters.RESERVED) & set(hyperparameters.settable())


def test_the_table_is_for_the_version_that_the_trainer_installs() -> None:
    assert hyperparameters.ultralytics_version().startswith("8.4.")
