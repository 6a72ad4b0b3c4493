"""What `modelyard captures` writes: contact sheets, and folders for labelling tools."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.cli.draw import draw
from modelyard.cli.errors import CliError
from modelyard.cli.inference import Detection
from modelyard.contract.capture import Captured, CaptureRecord

if TYPE_CHECKING:
    from PIL import Image

_CELL = (320, 240)
_CAPTION = 34
_COLUMNS = 6
_SAFE = re.compile(r"^[0-9a-f]{12}-[0-9]{6,12}\.(jpg|png|webp|bmp|bin)$")


def sheet(captures: list[Captured]) -> Image.Image:
    """All captures in a grid, with boxes, source, time and reason."""
    from PIL import Image, ImageDraw

    columns = min(_COLUMNS, len(captures))
    rows = -(-len(captures) // columns)
    width, height = _CELL[0], _CELL[1] + _CAPTION
    made = Image.new("RGB", (columns * width, rows * height), "white")
    pen = ImageDraw.Draw(made)
    for index, one in enumerate(captures):
        left, top = index % columns * width, index // columns * height
        try:
            picture = draw(one.image, _detections(one.record))
            picture.thumbnail((_CELL[0] - 4, _CELL[1] - 4))
            made.paste(picture, (left + 2, top + 2))
        except CliError as error:
            pen.text((left + 4, top + 4), str(error)[:50], fill="black")
        record = one.record
        training = "" if record.for_training else ", not for training"
        pen.text((left + 4, top + _CELL[1]), f"{record.server} {record.source}"[:52], fill="black")
        caption = f"{record.time[:19]} {record.reason}{training}"
        pen.text((left + 4, top + _CELL[1] + 15), caption[:52], fill="black")
    return made


def write_export(folder: Path, captures: Iterable[Captured]) -> tuple[int, int]:
    """Writes images/, labels/ and records/ and data.yaml; returns the number of images, and of
    those that are fit for training. Raises CliError where classes differ between versions, or the
    folder cannot be written."""
    names: list[str] | None = None
    count = training = 0
    try:
        for kind in ("images", "labels", "records"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for one in captures:
            record = one.record
            if not _SAFE.match(record.image.file):
                raise CliError(f"{record.image.file!r} is no name of a captured image")
            if names is not None and record.answer.classes != names:
                raise CliError(
                    f"{record.answer.model_version} has other classes than the versions of newer "
                    "captures: export fewer images with --limit"
                )
            names = record.answer.classes
            stem = f"{record.server}-{record.id}"
            ending = record.image.file.rpartition(".")[2]
            (folder / "images" / f"{stem}.{ending}").write_bytes(one.image)
            (folder / "labels" / f"{stem}.txt").write_text(yolo(record))
            text = record.model_dump_json(by_alias=True, exclude_none=True, indent=1)
            (folder / "records" / f"{stem}.json").write_text(text)
            count, training = count + 1, training + record.for_training
        (folder / "data.yaml").write_text(_data_yaml(names or []))
    except OSError as error:
        raise CliError(f"{folder} cannot be written: {error.strerror or error}") from error
    return count, training


def yolo(record: CaptureRecord) -> str:
    """The answer's boxes as YOLO labels: class, centre x, centre y, width, height, 0 to 1."""
    lines = []
    width, height = record.image.width, record.image.height
    for (x1, y1, x2, y2), class_id in zip(
        record.answer.boxes, record.answer.class_ids, strict=True
    ):
        values = (
            (x1 + x2) / 2 / width,
            (y1 + y2) / 2 / height,
            (x2 - x1) / width,
            (y2 - y1) / height,
        )
        numbers = " ".join(f"{min(max(value, 0.0), 1.0):.6f}" for value in values)
        lines.append(f"{class_id} {numbers}\n")
    return "".join(lines)


def _detections(record: CaptureRecord) -> list[Detection]:
    answer = record.answer
    found = zip(answer.boxes, answer.scores, answer.class_ids, strict=True)
    return [
        Detection(
            label=answer.classes[one] if 0 <= one < len(answer.classes) else str(one),
            class_id=one,
            score=score,
            x1=box[0],
            y1=box[1],
            x2=box[2],
            y2=box[3],
        )
        for box, score, one in found
    ]


def _data_yaml(names: list[str]) -> str:
    import json

    classes = "\n".join(f"  {index}: {json.dumps(name)}" for index, name in enumerate(names))
    return f"path: .\ntrain: images\nval: images\nnames:\n{classes}\n"
