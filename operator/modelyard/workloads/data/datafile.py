"""Reads a YOLO dataset YAML: class names, and what each split is.

The rules are those of Ultralytics' `check_det_dataset` (ultralytics/data/utils.py), with two
differences: nothing may lie outside the dataset's folder, and `download:` is never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.contract.datasetindex import SPLITS, SplitName
from modelyard.workloads.data import boundedyaml
from modelyard.workloads.data.errors import DatasetError

MAX_BYTES = 4 * 1024 * 1024
MAX_CLASSES = 100_000


@dataclass(frozen=True)
class DataFile:
    """The contents of a dataset YAML."""

    root: Path
    """Folder of the dataset, resolved; all files are within it."""
    base: Path
    """Folder that the splits are relative to."""
    classes: tuple[str, ...]
    """Class names, by class id."""
    splits: dict[SplitName, tuple[str, ...]]
    """Entries of each split: folders, or .txt lists of images."""


def find_root(folder: Path, data_file: str) -> Path:
    """The folder that the data file is relative to: `folder`, or the single folder inside it, as
    archives often have one. Raises DatasetError if the data file is in neither."""
    if (folder / data_file).is_file():
        return folder.resolve()
    inside = [
        entry
        for entry in sorted(folder.iterdir())
        if not entry.name.startswith(".") and entry.name != "__MACOSX"
    ]
    if len(inside) == 1 and inside[0].is_dir() and (inside[0] / data_file).is_file():
        return inside[0].resolve()
    found = ", ".join(entry.name for entry in inside[:5]) or "nothing"
    raise DatasetError(
        "DataFileMissing",
        f"{data_file}: not found; the source holds {found}"
        f"{', …' if len(inside) > 5 else ''}: set spec.dataFile to the path of the dataset YAML",
    )


def read_data_file(root: Path, data_file: str) -> DataFile:
    """Read and check the YAML. Raises DatasetError naming what is wrong with it."""
    path = root / data_file
    if not path.resolve().is_relative_to(root):
        raise DatasetError("InvalidDataFile", f"{data_file}: leads outside the dataset")

    def fail(what: str) -> DatasetError:
        return DatasetError("InvalidDataFile", f"{data_file}: {what}")

    if path.stat().st_size > MAX_BYTES:
        raise fail(f"is larger than {MAX_BYTES // 1024 // 1024} MiB")
    try:
        content = boundedyaml.load(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise fail(f"is not YAML ({' '.join(str(error).split())[:300]})") from error
    if not isinstance(content, dict):
        raise fail("is not a mapping with names, train and val")
    if "kpt_shape" in content:
        raise fail("is a pose dataset (kpt_shape); format YOLO takes detection boxes")
    if content.get("channels") not in (None, 3):
        raise fail(
            f"has channels: {content['channels']!r}; models are trained and served on RGB images "
            "with 3 channels, to which grey images are turned: leave channels out"
        )
    try:
        return DataFile(
            root=root,
            base=_base(root, path.parent.resolve(), content.get("path")),
            classes=_classes(content),
            splits=_splits(content),
        )
    except (ValueError, OSError) as error:
        # OSError: a path that no file here can have, such as one that is too long.
        raise fail(" ".join(str(error).split())[:1000]) from error


def _base(root: Path, beside: Path, value: Any) -> Path:
    if value is None or value == "":
        return beside
    if not isinstance(value, str):
        raise ValueError("path must be text")
    base = (beside / value).resolve()
    if not base.is_relative_to(root):
        raise ValueError(
            f"path {value!r} leads outside the dataset; leave it out, or give a folder relative "
            "to the data file"
        )
    if not base.is_dir():
        raise ValueError(
            f"path {value!r} is not a folder beside the data file; leave it out if the splits are "
            "relative to the data file"
        )
    return base


def _classes(content: dict[Any, Any]) -> tuple[str, ...]:
    names, count = content.get("names"), content.get("nc")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise ValueError(f"nc {str(count)[:80]!r} is not a number of classes")
    if names is None:
        if count is None:
            raise ValueError("names is missing: list the class names by class id")
        names = [f"class_{i}" for i in range(min(count, MAX_CLASSES + 1))]
    if isinstance(names, dict):
        try:
            by_id = {int(key): name for key, name in names.items()}
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError("names has a key that is not a class id") from error
        if sorted(by_id) != list(range(len(names))):
            raise ValueError(f"names must have the class ids 0 to {len(names) - 1}, each once")
        names = [by_id[i] for i in range(len(by_id))]
    if not isinstance(names, list) or not names:
        raise ValueError("names must be a list or a mapping of class ids to names, not empty")
    if len(names) > MAX_CLASSES:
        raise ValueError(f"more than {MAX_CLASSES} classes")
    if count is not None and count != len(names):
        raise ValueError(f"nc is {count}, but names has {len(names)} entries")
    for i, name in enumerate(names):
        # YAML reads `0`, `yes` or `1.5` as other types than text; digits are common class names.
        if isinstance(name, list | dict) or name is None or not str(name).strip():
            raise ValueError(f"the name of class {i} is not text")
    return tuple(str(name) for name in names)


def _splits(content: dict[Any, Any]) -> dict[SplitName, tuple[str, ...]]:
    splits: dict[SplitName, tuple[str, ...]] = {}
    for name in SPLITS:
        value = content.get(name)
        if name == "val" and value is None:
            value = content.get("validation")
        if value is None or value in ("", []):
            if name == "test":
                continue
            raise ValueError(f"{name} is missing: give the folder of its images")
        entries = value if isinstance(value, list) else [value]
        if not all(isinstance(entry, str) and entry for entry in entries):
            raise ValueError(f"{name} must be a folder, a .txt list, or a list of those")
        splits[name] = tuple(entries)
    return splits
