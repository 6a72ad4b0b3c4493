"""What is in the store when a training pod is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.contract.paths import checkpoint_key
from modelyard.contract.run import StoreLocation
from modelyard.store import Store, StoreUnavailable
from modelyard.workloads.train.checkpoints import Checkpoints


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(StoreLocation(url=f"file://{tmp_path}/store"))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "last.pt", tmp_path / "best.pt"


def write(files: tuple[Path, Path], last: str, best: str) -> None:
    for path, text in zip(files, (last, best), strict=True):
        path.write_text(text)


def blobs(tmp_path: Path) -> set[str]:
    return {p.read_text() for p in (tmp_path / "store" / "blobs" / "sha256").iterdir()}


def test_the_next_pod_finds_the_last_and_the_best_epoch(
    store: Store, files: tuple[Path, Path]
) -> None:
    checkpoints = Checkpoints(store, "run")
    assert checkpoints.load() is None
    checkpoints.started_from("sha256:abc")
    write(files, "epoch 3", "epoch 2")
    checkpoints.saved(3, *files, complete=False)
    checkpoints.upload_if_due()

    found = Checkpoints(store, "run").load()
    assert found is not None
    assert (found.epoch, found.complete, found.initial_weights) == (3, False, "sha256:abc")
    assert store.get_bytes(found.last) == b"epoch 3"
    assert store.get_bytes(found.best) == b"epoch 2"


def test_short_epochs_are_not_all_uploaded_but_the_last_one_is(
    store: Store, files: tuple[Path, Path]
) -> None:
    clock = Clock()
    checkpoints = Checkpoints(store, "run", clock=clock)
    seen = []
    for epoch in range(1, 21):
        clock.now += 5
        write(files, f"epoch {epoch}", "epoch 1")
        checkpoints.saved(epoch, *files, complete=epoch == 20)
        checkpoints.upload_if_due()
        seen.append((store.get_pointer(checkpoint_key("run")) or {})["epoch"])
    assert sorted(set(seen)) == [1, 7, 13, 19, 20]


def test_only_the_newest_checkpoint_stays_in_the_store(
    store: Store, files: tuple[Path, Path], tmp_path: Path
) -> None:
    checkpoints = Checkpoints(store, "run", clock=Clock(), min_seconds=0)
    for epoch in (1, 2, 3):
        write(files, f"last {epoch}", "best 1" if epoch < 3 else "last 3")
        checkpoints.saved(epoch, *files, complete=False)
        checkpoints.upload_if_due()
    assert blobs(tmp_path) == {"last 3"}
    checkpoints.discard(keep="sha256:published")
    assert blobs(tmp_path) == set()
    assert Checkpoints(store, "run").load() is None


def test_what_was_published_stays_when_the_checkpoint_goes(
    store: Store, files: tuple[Path, Path], tmp_path: Path
) -> None:
    checkpoints = Checkpoints(store, "run")
    write(files, "last", "best")
    checkpoints.saved(1, *files, complete=True)
    checkpoints.upload_if_due()
    checkpoints.discard(keep=store.put_bytes(b"best"))
    assert blobs(tmp_path) == {"best"}


def test_the_best_epoch_is_sent_once(
    store: Store, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def put(path: Path) -> str:
        sent.append(path.read_text())
        return Store.put_file(store, path)

    monkeypatch.setattr(store, "put_file", put)
    checkpoints = Checkpoints(store, "run", clock=Clock(), min_seconds=0)
    for epoch in (1, 2, 3):
        write(files, f"last {epoch}", "best")
        checkpoints.saved(epoch, *files, complete=False)
        checkpoints.upload_if_due()
    assert sent == ["last 1", "best", "last 2", "last 3"]


def test_at_sigterm_the_epoch_that_was_held_back_is_uploaded(
    store: Store, files: tuple[Path, Path]
) -> None:
    checkpoints = Checkpoints(store, "run")
    for epoch in (1, 2):
        write(files, f"epoch {epoch}", "epoch 1")
        checkpoints.saved(epoch, *files, complete=False)
        checkpoints.upload_if_due()
    checkpoints.flush()
    assert (store.get_pointer(checkpoint_key("run")) or {})["epoch"] == 2


def test_a_half_written_file_is_never_uploaded(store: Store, files: tuple[Path, Path]) -> None:
    checkpoints = Checkpoints(store, "run")
    for epoch in (1, 2):
        write(files, f"epoch {epoch}", "epoch 1")
        checkpoints.saved(epoch, *files, complete=False)
        checkpoints.upload_if_due()
    files[0].write_text("epo")
    checkpoints.flush()
    assert (store.get_pointer(checkpoint_key("run")) or {})["epoch"] == 1


def test_a_store_that_fails_does_not_stop_the_training(
    store: Store, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> str:
        raise StoreUnavailable("away")

    checkpoints = Checkpoints(store, "run", clock=Clock(), min_seconds=0)
    write(files, "epoch 1", "epoch 1")
    with monkeypatch.context() as patch:
        patch.setattr(store, "put_file", fail)
        checkpoints.saved(1, *files, complete=False)
        checkpoints.upload_if_due()
    checkpoints.saved(2, *files, complete=False)
    checkpoints.upload_if_due()
    assert (store.get_pointer(checkpoint_key("run")) or {})["epoch"] == 2


def test_a_pointer_of_another_release_starts_over(store: Store) -> None:
    store.put_pointer(checkpoint_key("run"), {"generation": 7})
    assert Checkpoints(store, "run").load() is None
