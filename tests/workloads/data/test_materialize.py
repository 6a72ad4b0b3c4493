"""A published version comes back as a folder that Ultralytics reads."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.contract.paths import blob_key
from modelyard.contract.run import StoreLocation
from modelyard.store import DigestMismatch, Store
from modelyard.workloads.data import materialize, read_index
from modelyard.workloads.data.check import Checked, check
from modelyard.workloads.data.layout import Sample
from modelyard.workloads.data.publish import publish
from modelyard.workloads.errors import RetryableError, UserError

PVC = {"pvc": {"claimName": "data", "path": ""}}


@pytest.fixture
def store(store_location: StoreLocation) -> Store:
    return Store.open(store_location)


@pytest.fixture
def digest(run_data: Callable[..., Any]) -> str:
    return run_data(PVC).data.digest


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_splits(store: Store, digest: str, dataset: Path, tmp_path: Path) -> None:
    data_file = materialize(store, digest, tmp_path / "data")
    content = yaml.safe_load(data_file.read_text())
    assert content == {
        "path": str(tmp_path / "data"),
        "train": "images/train",
        "val": "images/val",
        "names": {0: "cat", 1: "dog"},
    }
    for kind in ("images", "labels"):
        assert names(tmp_path / "data" / kind) == names(dataset / kind)
    for path in (dataset / "images").rglob("*.png"):
        copy = tmp_path / "data" / path.relative_to(dataset)
        assert copy.read_bytes() == path.read_bytes()
    assert (tmp_path / "data/labels/val/1.txt").read_text() == "1 0.5 0.5 0.5 0.5\n"
    assert (tmp_path / "data/labels/train/5.txt").read_text() == ""


def test_one_split_and_then_the_other(store: Store, digest: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    data_file = materialize(store, digest, folder, ["val"])
    assert not (folder / "images/train").exists()
    # Ultralytics wants both keys; train is not there yet.
    assert yaml.safe_load(data_file.read_text())["train"] == "images/val"
    materialize(store, digest, folder, ["train"])
    content = yaml.safe_load(data_file.read_text())
    assert (content["train"], content["val"]) == ("images/train", "images/val")


def test_a_second_call_fetches_nothing(
    store: Store, digest: str, tmp_path: Path, store_location: StoreLocation
) -> None:
    materialize(store, digest, tmp_path / "data")
    for split in read_index(store, digest).splits:
        for shard in split.shards:
            (tmp_path / "store" / blob_key(shard.digest)).unlink()
    materialize(store, digest, tmp_path / "data")


def test_a_killed_call_is_taken_up(store: Store, digest: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    materialize(store, digest, folder)
    (folder / ".train.complete").unlink()
    shutil.rmtree(folder / "labels/train")
    (folder / "images/train/stray.png").touch()
    materialize(store, digest, folder)
    assert len(names(folder / "images/train")) == len(names(folder / "labels/train")) == 6


def test_another_version_replaces_the_first(
    store: Store, digest: str, dataset: Path, run_data: Callable[..., Any], tmp_path: Path
) -> None:
    materialize(store, digest, tmp_path / "data")
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (dataset / kind / f"train/0.{suffix}").unlink()
    materialize(store, run_data(PVC).data.digest, tmp_path / "data")
    assert len(names(tmp_path / "data/images/train")) == 5


def test_a_split_that_is_not_there(store: Store, digest: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no test split, it has train, val") as caught:
        materialize(store, digest, tmp_path / "data", ["test"])
    assert caught.value.reason == "SplitMissing"


def test_a_version_that_is_not_there(store: Store, tmp_path: Path) -> None:
    other = store.put_bytes(b"something else")
    for digest in (f"sha256:{'0' * 64}", other):
        with pytest.raises(UserError, match=digest) as caught:
            materialize(store, digest, tmp_path / "data")
        assert caught.value.reason == "DatasetMissing"


def test_a_damaged_shard(store: Store, digest: str, tmp_path: Path) -> None:
    shard = read_index(store, digest).splits[0].shards[0]
    path = tmp_path / "store" / blob_key(shard.digest)
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(DigestMismatch):
        materialize(store, digest, tmp_path / "data")
    with pytest.raises(DigestMismatch):
        materialize(store, digest, tmp_path / "data")


def checked(root: Path) -> list[Checked]:
    result = []
    for i in range(6):
        image, label = root / f"images/train/{i}.png", root / f"labels/train/{i}.txt"
        sample = Sample("train", image, label, f"{i}.png")
        result.append(check(sample, root=root, classes=2, missing_is_background=False))
    return result


def test_large_splits_have_several_shards(store: Store, dataset: Path, tmp_path: Path) -> None:
    images = checked(dataset.resolve())
    digest, index = publish(
        store, {"train": images}, ("cat", "dog"), tmp_path, max_shard_bytes=10_000
    )
    shards = index.splits[0].shards
    assert len(shards) > 1
    assert sum(shard.images for shard in shards) == 6
    materialize(store, digest, tmp_path / "data")
    assert len(names(tmp_path / "data/images/train")) == 6


def test_shards_hold_no_times_or_owners(store: Store, digest: str, tmp_path: Path) -> None:
    shard = read_index(store, digest).splits[0].shards[0]
    with tarfile.open(store.get_file(shard.digest, tmp_path / "shard.tar")) as archive:
        members = archive.getmembers()
    assert [m.name for m in members[:2]] == ["images/train/0.png", "images/train/1.png"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}


@pytest.mark.parametrize("change", [b"", b"longer and other", None])
def test_a_source_that_changes_meanwhile(
    change: bytes | None, store: Store, dataset: Path, tmp_path: Path
) -> None:
    images = checked(dataset.resolve())
    victim = dataset / "images/train/3.png"
    victim.unlink() if change is None else victim.write_bytes(change)
    with pytest.raises(RetryableError, match=r"3\.png of split train changed"):
        publish(store, {"train": images}, ("cat", "dog"), tmp_path)
