"""Checks `spec.hyperparameters` of a TrainingJob before a pod starts.

Names, types, defaults and ranges are those of Ultralytics' `train()`, in `hyperparameters.json`
(written by `python -m modelyard.workloads.train.hyperparameter_table`), so that neither operator
nor CLI needs Ultralytics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

FIELD = "spec.hyperparameters"

MAX_ARGUMENTS = 128
"""Ultralytics' `train()` has fewer arguments than that."""
MAX_VALUE_TEXT = 1024
MAX_VALUE_ITEMS = 1024
"""`freeze` and `classes` are lists of layers and class ids."""
MAX_NAME = 64
"""Names longer than that resemble no argument. Finding similar names takes time in proportion to
the length, so a suggestion is only looked for within it."""

_STORED = "Modelyard keeps checkpoints and results in the store"
_EXPORTED = "exports are declared in spec.output.exports"

RESERVED: Mapping[str, str] = MappingProxyType(
    {
        "model": "set spec.model or spec.baseVersion instead",
        "data": "set spec.dataset instead",
        "task": "Modelyard trains object detection",
        "mode": "a TrainingJob always trains",
        "device": "set spec.resources.gpus instead",
        "resume": "a stopped training resumes from its last checkpoint by itself",
        "cfg": f"set each argument under {FIELD} instead",
        "project": f"{_STORED}; name the model line in spec.output.modelLine",
        "name": f"{_STORED}; name the model line in spec.output.modelLine",
        "save_dir": _STORED,
        "exist_ok": _STORED,
        "save": _STORED,
        "save_period": _STORED,
        "distill_model": "distillation from a teacher model is not supported",
        "quantize": "set the precision of an export in spec.output.exports instead",
        "format": _EXPORTED,
        "dynamic": _EXPORTED,
        "simplify": _EXPORTED,
        "opset": _EXPORTED,
        "optimize": _EXPORTED,
        "workspace": _EXPORTED,
    }
)
"""Arguments that Modelyard sets itself, and what the user does instead."""

_MEANT = {
    "batch_size": "batch",
    "batchsize": "batch",
    "early_stopping": "patience",
    "image_size": "imgsz",
    "img_size": "imgsz",
    "learning_rate": "lr0",
    "lr": "lr0",
    "num_epochs": "epochs",
    "random_seed": "seed",
    "num_workers": "workers",
}
"""Names from other frameworks that spelling alone does not lead to Ultralytics' own."""

_CHOICES = {
    "optimizer": ("auto", "SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp"),
    "amp": ("fp16", "bf16", "fp32"),
    "cache": ("ram", "disk"),
    "split": ("train", "val", "test"),
    "copy_paste_mode": ("flip", "mixup"),
    "auto_augment": ("randaugment", "autoaugment", "augmix"),
    "compile": ("default", "reduce-overhead", "max-autotune-no-cudagraphs"),
}
"""Texts that Ultralytics accepts; optimizer and amp in any case."""

_MINIMUM = {
    "imgsz": 32,
    "workers": 0,
    "close_mosaic": 0,
    "warmup_epochs": 0,
    "box": 0,
    "cls": 0,
    "dfl": 0,
}
"""Lower bounds that Ultralytics does not check but fails on later, in the pod."""

_EXPECTED = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "list": "a list",
}


@dataclass(frozen=True)
class Argument:
    """One argument of `train()`."""

    name: str
    types: tuple[str, ...]
    """integer, number, boolean, string, list; any of them is fine."""
    default: Any
    optional: bool
    """Whether null is a value."""
    minimum: float | None
    maximum: float | None
    training: bool
    """False for arguments that only predicting, tracking or exporting reads."""


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    text = resources.files("modelyard.api").joinpath("hyperparameters.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def ultralytics_version() -> str:
    """The Ultralytics version that the table was written for."""
    return str(_table()["ultralytics"])


@lru_cache(maxsize=1)
def arguments() -> Mapping[str, Argument]:
    """All arguments of `train()` by name, those that Modelyard refuses included."""
    return MappingProxyType(
        {
            name: Argument(
                name=name,
                # A path or a scheme would name a file in the pod, so these two take no text.
                types=("boolean",) if name == "pretrained" else tuple(row["types"]),
                default=row["default"],
                optional=row.get("optional", False),
                minimum=row.get("minimum", _MINIMUM.get(name)),
                maximum=row.get("maximum"),
                training=row.get("training", True),
            )
            for name, row in _table()["arguments"].items()
        }
    )


def settable() -> list[str]:
    """The names that a user may set, sorted."""
    return sorted(n for n, a in arguments().items() if a.training and n not in RESERVED)


def check(hyperparameters: Mapping[str, Any] | None) -> list[str]:
    """What is wrong with the hyperparameters, one sentence each; empty if all is well.

    Takes milliseconds whatever is given: it runs in the operator, for objects of anybody.
    """
    given = hyperparameters or {}
    if len(given) > MAX_ARGUMENTS:
        return [
            f"{FIELD} has {len(given)} entries, more than the {MAX_ARGUMENTS} that are possible: "
            "remove those that Ultralytics' train() does not have."
        ]
    problems = (_problem(str(n), v) for n, v in sorted(given.items()))
    return [problem for problem in problems if problem]


def _problem(name: str, value: Any) -> str | None:
    where = f"{FIELD}.{_cut(name)}"
    if name in RESERVED:
        return f"{where} cannot be set: {RESERVED[name]}."
    argument = arguments().get(name)
    if argument is None:
        return f"{where} is not an argument of Ultralytics' train(){_suggestion(name)}"
    if not argument.training:
        return f"{where} cannot be set: training does not use it."
    if value is None:
        return None if argument.optional else f"{where} has no value: remove it or set one."
    kind = _kind(value, argument.types)
    if kind is None:
        return f"{where} must be {_expected(argument)}, not {_shown(value)}."
    return _range_problem(where, argument, kind, value)


def _cut(text: str) -> str:
    """The text as messages show it, however long it is."""
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"


def _suggestion(name: str) -> str:
    if len(name) > MAX_NAME:
        return "."
    lowered = name.lower().replace("-", "_")
    meant = _MEANT.get(lowered)
    near = [meant] if meant else get_close_matches(lowered, settable(), n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else "."


def _kind(value: Any, types: tuple[str, ...]) -> str | None:
    """Which of the accepted types the value is; None if it is none of them."""
    if isinstance(value, bool):
        found = ["boolean"]
    elif isinstance(value, int):
        found = ["integer", "number"]
    elif isinstance(value, float):
        # JSON and YAML writers may turn 10 into 10.0.
        found = ["integer", "number"] if value.is_integer() else ["number"]
    elif isinstance(value, str):
        found = ["string"]
    elif isinstance(value, list | tuple):
        found = ["list"]
    else:
        found = []
    return next((kind for kind in found if kind in types), None)


def _expected(argument: Argument) -> str:
    return " or ".join(_EXPECTED[kind] for kind in argument.types)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        shown = _cut(value)
        try:
            float(shown)
        except ValueError:
            return f'the text "{shown}"'
        return f'the text "{shown}" (remove the quotes)'
    try:
        return _cut(json.dumps(value, default=str))
    except RecursionError:
        return "a value that nests too deep"


def _range_problem(where: str, argument: Argument, kind: str, value: Any) -> str | None:
    if kind == "string":
        return _choice_problem(where, argument.name, value)
    if kind == "list":
        return _list_problem(where, argument.name, value)
    if kind == "boolean":
        return None
    if argument.name == "batch":
        return _batch_problem(where, value)
    if argument.name == "fraction" and not (0 < value <= 1 or (value > 1 and value % 1 == 0)):
        return f"{where} is {value}, but must lie above 0 and up to 1, or be a count of images."
    if argument.name == "time" and value <= 0:
        return f"{where} is {value}, but must be above 0 hours."
    low, high = argument.minimum, argument.maximum
    if low is not None and high is not None and not low <= value <= high:
        return f"{where} is {value}, but must lie between {low:g} and {high:g}."
    if low is not None and value < low:
        return f"{where} is {value}, but must be at least {low:g}."
    return None


def _choice_problem(where: str, name: str, value: str) -> str | None:
    choices = _CHOICES.get(name, ())
    if not choices or value.lower() in (choice.lower() for choice in choices):
        return None
    near = get_close_matches(value[:MAX_NAME], choices, n=1, cutoff=0.6)
    hint = f'did you mean "{near[0]}"?' if near else f"choose one of {', '.join(choices)}."
    return f'{where} is "{_cut(value)}": {hint}'


def _list_problem(where: str, name: str, value: list[Any]) -> str | None:
    if name == "imgsz":
        # Ultralytics trains on squares only and would silently take the longer side.
        return f"{where} must be one whole number: training images are square."
    if name == "scale" and len(value) != 2:
        return f"{where} must have two numbers (minimum and maximum), not {len(value)}."
    if name == "fraction" and len(value) not in (2, 3):
        return f"{where} must have two or three numbers (train, val, test), not {len(value)}."
    wanted = {"freeze": (int, str), "classes": (int,)}.get(name, (int, float))
    for item in value:
        if isinstance(item, bool) or not isinstance(item, wanted):
            return f"{where} contains {_shown(item)}, which does not belong there."
    return None


def _batch_problem(where: str, value: float) -> str | None:
    if value == -1 or 0 < value < 1 or (value >= 1 and float(value).is_integer()):
        return None
    return (
        f"{where} is {value}, but must be a whole number of images, -1 (chosen by GPU memory), "
        "or a share of GPU memory between 0 and 1."
    )
