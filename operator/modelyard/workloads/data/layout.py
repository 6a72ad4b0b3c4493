"""Which images belong to each split, and where the label file of an image is.

As Ultralytics does it: a folder is searched with all its subfolders, hidden names left out; a
.txt file lists images; the label of `a/images/b/c.jpg` is `a/labels/b/c.txt`, replacing the last
`/images/` alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelyard.contract.datasetindex import SplitName
from modelyard.workloads.data.datafile import DataFile
from modelyard.workloads.data.errors import DatasetError
from modelyard.workloads.data.problems import Problems

SUFFIXES = frozenset(
    (
        "avif",
        "bmp",
        "dng",
        "heic",
        "heif",
        "jp2",
        "jpeg",
        "jpg",
        "mpo",
        "png",
        "tif",
        "tiff",
        "webp",
    )
)
"""Suffixes of files that Ultralytics 8.4 takes for images (IMG_FORMATS). What is in them is checked
by check.py: some of these formats are not trained on."""

_IMAGES, _LABELS = "/images/", "/labels/"


@dataclass(frozen=True)
class Sample:
    """One image of a split."""

    split: SplitName
    image: Path
    """Absolute path of the image."""
    label: Path
    """Absolute path of the label file, which may be missing."""
    name: str
    """Name in the published version, relative to images/<split>/; unique within the split."""


def samples(data: DataFile, split: SplitName, problems: Problems) -> list[Sample]:
    """The images of a split, sorted by name. Entries and listed images that are missing or lead
    outside are added to `problems`."""
    found: dict[Path, None] = {}
    for entry in data.splits[split]:
        found.update(dict.fromkeys(_entry(data, split, entry, problems)))
    if not found:
        return []
    common = Path(os.path.commonpath([path.parent for path in found]))
    result = []
    names: dict[str, Path] = {}
    for path in found:
        shown = relative(data.root, path)
        name = _published_name(path.relative_to(common))
        other = names.setdefault(name, path)
        if other != path:
            problems.add(shown, f"gets the same name as {relative(data.root, other)}; rename one")
        elif not _is_plain(name):
            safe = shown.encode(errors="backslashreplace").decode().replace("\n", "\\n")
            problems.add(safe, "has a name that is not UTF-8 or has a line break; rename it")
        else:
            result.append(Sample(split, path, label_path(data.root, path), name))
    return sorted(result, key=lambda sample: sample.name)


def is_absent(data: DataFile, split: SplitName) -> bool:
    """Whether nothing of a split is there, though the data file names it: exports name a test split
    whether or not they have one."""
    places = [_locate(data, entry) for entry in data.splits[split]]
    return all(place is not None and not place.exists() for place in places)


def label_path(root: Path, image: Path) -> Path:
    """Path of the label file of an image. Only the part below `root` counts."""
    below = f"/{relative(root, image)}"
    if _IMAGES in below:
        head, _, tail = below.rpartition(_IMAGES)
        below = f"{head}{_LABELS}{tail}"
    return (root / below[1:]).with_suffix(".txt")


def relative(root: Path, path: Path) -> str:
    """A path for messages, relative to the dataset's root."""
    return path.relative_to(root).as_posix()


def _entry(data: DataFile, split: str, entry: str, problems: Problems) -> Iterator[Path]:
    path = _locate(data, entry)
    if path is None:
        problems.add(entry, f"the {split} split leads outside the dataset")
    elif path.is_dir():
        yield from _folder(data.root, path, problems)
    elif path.is_file() and path.suffix == ".txt":
        yield from _list(data, path, problems)
    elif path.is_file():
        problems.add(entry, f"the {split} split is neither a folder nor a .txt list of images")
    else:
        problems.add(entry, f"the {split} split is missing: there is no such folder or list")


def _locate(data: DataFile, entry: str) -> Path | None:
    path = _inside(data.root, data.base / entry)
    if (path is None or not path.exists()) and entry.startswith("../"):
        # Roboflow's exports say ../train/images for a folder beside the data file, and
        # Ultralytics understands.
        beside = _inside(data.root, data.base / entry.removeprefix("../"))
        return beside if beside is not None and (beside.exists() or path is None) else path
    return path


def _inside(root: Path, path: Path) -> Path | None:
    """The path without `..`, or None if it, or what it links to, is outside."""
    plain = Path(os.path.normpath(path))
    if not plain.is_relative_to(root) or not plain.resolve().is_relative_to(root):
        return None
    return plain


def _folder(root: Path, folder: Path, problems: Problems) -> Iterator[Path]:
    def raise_error(error: OSError) -> None:
        raise DatasetError(
            "Unreadable",
            f"{relative(root, Path(error.filename))}: cannot be read ({error.strerror}); the "
            "files must be readable for user 65532",
        ) from error

    for parent, folders, files in os.walk(folder, onerror=raise_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(parent)
        for name in sorted(files):
            path = here / name
            if name.startswith(".") or not _is_image(path):
                continue
            if path.is_symlink() and _inside(root, path) is None:
                problems.add(relative(root, path), "is a link that leads outside the dataset")
            else:
                yield path


def _list(data: DataFile, path: Path, problems: Problems) -> Iterator[Path]:
    shown = relative(data.root, path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        problems.add(shown, "is not UTF-8 text")
        return
    for number, line in enumerate(lines, 1):
        entry = line.strip()
        if not entry:
            continue
        # `./` means beside the list; else the dataset's folder comes first.
        bases = (path.parent,) if entry.startswith("./") else (data.base, path.parent)
        places = [_inside(data.root, base / entry) for base in bases]
        inside = [place for place in places if place is not None]
        image = next((place for place in inside if place.is_file()), None)
        if not inside:
            problems.add(shown, f"line {number}: {entry!r} leads outside the dataset")
        elif image is None:
            problems.add(shown, f"line {number}: image {entry!r} is missing")
        elif not _is_image(image):
            problems.add(shown, f"line {number}: {entry!r} is not an image that YOLO reads")
        else:
            yield image


def _is_image(path: Path) -> bool:
    return path.suffix[1:].lower() in SUFFIXES


def _published_name(path: Path) -> str:
    # A folder `images` below images/<split>/ would move the label elsewhere.
    parts = [part if part != "images" else "images_" for part in path.parts[:-1]]
    return "/".join([*parts, path.name])


def _is_plain(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\n" not in name and "\r" not in name
