"""A published dataset version as a directory that Ultralytics can read."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from modelyard.contract.datasetindex import DatasetIndex, Shard, SplitIndex, parse_index
from modelyard.store import BlobMissing, Store
from modelyard.workloads.data.limits import Limits
from modelyard.workloads.data.unpack import unpack
from modelyard.workloads.errors import UserError

log = logging.getLogger("modelyard.data")

DATA_FILE = "data.yaml"

PARALLEL_SHARDS = 4
"""Shards on their way at a time: unpacking one overlaps with fetching the next."""


def read_index(store: Store, digest: str) -> DatasetIndex:
    """The index of a dataset version.

    Raises UserError if the store has no such dataset, StoreError if it cannot be read.
    """
    try:
        text = store.get_bytes(digest)
    except BlobMissing as error:
        raise UserError(
            "DatasetMissing",
            f"dataset version {digest} is not in the store {store.url}; resolve the Dataset again",
        ) from error
    try:
        return parse_index(text)
    except ValueError as error:
        raise UserError(
            "DatasetMissing", f"{digest} in the store {store.url} is not a dataset version"
        ) from error


def materialize(
    store: Store, digest: str, directory: Path, splits: Iterable[str] | None = None
) -> Path:
    """Fetch a dataset version into `directory` and return the path of its data.yaml.

    `splits` names the ones that are wanted (train, val, test); all by default. Shards are
    verified by digest. Safe to call again after a crash or for more splits: what is complete stays.
    `directory` belongs to this function. data.yaml lists the splits of this version that are there.
    Raises UserError for a split that the version does not have, StoreError.
    """
    index = read_index(store, digest)
    wanted = list(splits or (split.name for split in index.splits))
    for name in wanted:
        split = index.split(name)
        if split is None or not split.images:
            have = ", ".join(s.name for s in index.splits if s.images)
            raise UserError(
                "SplitMissing",
                f"dataset version {digest} has no {name} split, it has {have}; add `{name}` to "
                "the dataset's data file, or choose another split",
            )
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(wanted):
        split = index.split(name)
        if split is not None and not _complete(directory, digest, name):
            _fetch_split(store, digest, split, directory)
    return _write_data_file(directory, digest, index)


def _fetch_split(store: Store, digest: str, split: SplitIndex, directory: Path) -> None:
    log.info("fetching split %s: %d images", split.name, split.images)
    _marker(directory, split.name).unlink(missing_ok=True)
    for kind in ("images", "labels"):
        shutil.rmtree(directory / kind / split.name, ignore_errors=True)
    with ThreadPoolExecutor(PARALLEL_SHARDS) as pool:
        # list() raises the first error of a shard.
        list(pool.map(lambda shard: _fetch_shard(store, shard, directory), split.shards))
    for kind in ("images", "labels"):
        (directory / kind / split.name).mkdir(parents=True, exist_ok=True)
    _marker(directory, split.name).write_text(digest, encoding="ascii")


def _fetch_shard(store: Store, shard: Shard, directory: Path) -> None:
    archive = directory / f".{shard.digest.partition(':')[2]}.tar"
    try:
        store.get_file(shard.digest, archive)
        unpack(archive, directory, Limits.of_shard(shard.size_bytes))
    finally:
        archive.unlink(missing_ok=True)


def _marker(directory: Path, split: str) -> Path:
    return directory / f".{split}.complete"


def _complete(directory: Path, digest: str, split: str) -> bool:
    marker = _marker(directory, split)
    return marker.is_file() and marker.read_text(encoding="ascii") == digest


def _write_data_file(directory: Path, digest: str, index: DatasetIndex) -> Path:
    here = [split.name for split in index.splits if _complete(directory, digest, split.name)]
    folders: dict[str, str] = {name: f"images/{name}" for name in here}
    # Ultralytics refuses a file without train and val even where it only reads another split.
    for name in ("train", "val"):
        folders.setdefault(name, f"images/{here[0]}")
    path = directory / DATA_FILE
    content: dict[str, object] = {
        "path": str(directory),
        **folders,
        "names": dict(enumerate(index.classes)),
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
