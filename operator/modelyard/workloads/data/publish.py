"""Publishes a checked dataset: deterministic tars, and the index whose digest names it all."""

from __future__ import annotations

import hashlib
import io
import logging
import tarfile
from pathlib import Path
from typing import BinaryIO

from modelyard.contract.datasetindex import (
    MAX_SHARD_BYTES,
    DatasetIndex,
    Shard,
    SplitIndex,
    SplitName,
)
from modelyard.store import Store
from modelyard.workloads.data.check import Box, Checked
from modelyard.workloads.data.limits import human
from modelyard.workloads.errors import RetryableError

log = logging.getLogger("modelyard.data")

_BLOCK = tarfile.BLOCKSIZE


def publish(
    store: Store,
    splits: dict[SplitName, list[Checked]],
    classes: tuple[str, ...],
    scratch: Path,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> tuple[str, DatasetIndex]:
    """Publish images and labels; returns the dataset's digest and its index.

    `splits` holds each split's images sorted by name. One shard at a time lies in `scratch`.
    Raises RetryableError if an image is not what it was when it was checked, StoreError.
    """
    index = DatasetIndex(
        classes=list(classes),
        splits=[
            SplitIndex(
                name=name,
                shards=[
                    _publish_shard(store, name, part, scratch)
                    for part in _parts(name, checked, max_shard_bytes)
                ],
                images=len(checked),
                boxes=sum(len(one.boxes) for one in checked),
                backgrounds=sum(not one.boxes for one in checked),
                class_boxes=class_boxes(checked, len(classes)),
            )
            for name, checked in splits.items()
        ],
    )
    digest = store.put_bytes(index.dump())
    log.info("published %s as %s", human(index.size_bytes), digest)
    return digest, index


def class_boxes(checked: list[Checked], classes: int) -> list[int]:
    """Boxes of each class, by class id."""
    counts = [0] * classes
    for one in checked:
        for box in one.boxes:
            counts[box[0]] += 1
    return counts


def label_text(boxes: tuple[Box, ...]) -> bytes:
    """A label file: one line a box, numbers in their shortest form, so that equal labels are equal
    bytes."""
    return "".join(f"{box[0]} {' '.join(map(_number, box[1:]))}\n" for box in boxes).encode()


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _parts(name: SplitName, checked: list[Checked], limit: int) -> list[list[Checked]]:
    """Runs of images whose tar stays within the limit; one larger image is a part of its own."""
    parts: list[list[Checked]] = []
    size = limit
    for one in checked:
        needs = _padded(_size(one)) + _padded(len(label_text(one.boxes)))
        # Two headers; a long or non-ASCII name needs two more blocks each (PAX).
        needs += 6 * _BLOCK
        if size + needs > limit:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += needs
    return parts


def _size(one: Checked) -> int:
    try:
        return one.sample.image.stat().st_size
    except FileNotFoundError as error:
        raise _changed(one) from error


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _publish_shard(store: Store, split: SplitName, part: list[Checked], scratch: Path) -> Shard:
    path = scratch / "shard.tar"
    try:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for one in part:
                _add_image(tar, f"images/{split}/{one.sample.name}", one)
            # Two images of one name and different suffixes share a label file.
            labels = {
                f"labels/{split}/{Path(one.sample.name).with_suffix('.txt')}": one.boxes
                for one in part
            }
            for name, boxes in labels.items():
                text = label_text(boxes)
                _add(tar, name, len(text), io.BytesIO(text))
        digest = store.put_file(path)
        size = path.stat().st_size
        log.info("%s: shard of %d images, %s", split, len(part), human(size))
        return Shard(digest=digest, size_bytes=size, images=len(part))
    finally:
        path.unlink(missing_ok=True)


class _Hashing:
    """Hashes what is read through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.hasher.update(data)
        return data


def _changed(one: Checked) -> RetryableError:
    return RetryableError(
        "SourceChanged",
        f"{one.sample.image.name} of split {one.sample.split} changed while the dataset was read; "
        "nothing may write to the source meanwhile",
    )


def _add_image(tar: tarfile.TarFile, name: str, one: Checked) -> None:
    try:
        with one.sample.image.open("rb") as file:
            hashing = _Hashing(file)
            _add(tar, name, _size(one), hashing)
            grown = file.read(1)
    except OSError as error:
        # tarfile's own error for a file that ends early has no errno.
        if error.errno is None or isinstance(error, FileNotFoundError):
            raise _changed(one) from error
        raise
    if grown or hashing.hasher.digest() != one.digest:
        raise _changed(one)


def _add(tar: tarfile.TarFile, name: str, size: int, content: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    tar.addfile(info, content)  # type: ignore[arg-type]  # it only calls read()
