"""The cache of artifacts, over a real directory store."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard.api.modelserver import Assignment
from modelyard.contract.manifest import ArtifactFile, ArtifactManifest, TensorSpec
from modelyard.contract.paths import blob_key
from modelyard.contract.run import StoreLocation
from modelyard.store import BlobMissing, DigestMismatch, Store, sha256_bytes
from modelyard.workloads.agent.artifacts import (
    ArtifactCache,
    ManifestError,
    QuotaError,
    StoppedError,
)

from ..contract.test_profile import summary
from .stores import GatedStore

SIZE = 100_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(StoreLocation(url=f"file://{tmp_path}/store"))


@pytest.fixture
def used() -> set[str]:
    """Digests in use."""
    return set()


@pytest.fixture
def cache(tmp_path: Path, store: Store, used: set[str]) -> ArtifactCache:
    # Room for two model files with their manifests, not for three.
    return ArtifactCache(tmp_path / "cache", store, 2 * SIZE + 70_000, lambda: used)


def publish(store: Store, version: int, **changes: object) -> Assignment:
    content = bytes([version]) * SIZE
    manifest = ArtifactManifest(
        format="onnx",
        file=ArtifactFile(name="m.onnx", digest=sha256_bytes(content), size_bytes=SIZE),
        classes=("cat",),
        imgsz=(64, 64),
        input=TensorSpec(name="images", dtype="FP32", shape=(1, 3, 64, 64)),
        outputs=(TensorSpec(name="output0", dtype="FP32", shape=(1, 5, 84)),),
    )
    fields = {
        "model_version": f"m-{version}",
        "version": version,
        "artifact": "onnx",
        "format": "onnx",
        "digest": store.put_bytes(content),
        "manifest_digest": store.put_bytes(manifest.dump()),
    }
    return Assignment(**{**fields, **changes})


def path_of(cache: ArtifactCache, digest: str) -> Path:
    return cache._root / blob_key(digest)


def test_what_is_cached_needs_no_store(cache, store, tmp_path):
    one = publish(store, 1)
    first = cache.fetch(one)
    (tmp_path / "store").rename(tmp_path / "gone")
    again = cache.fetch(one)

    assert first.downloaded > SIZE
    assert again.downloaded == 0
    assert again.model_file.read_bytes() == b"\1" * SIZE


def with_profile(store: Store, **changes: object) -> Assignment:
    digest = store.put_bytes(summary(**changes).dump())
    return publish(store, 1, profile_digest=digest)


def test_the_profile_comes_with_the_artifact_and_needs_no_store_then(cache, store, tmp_path):
    one = with_profile(store, images=7)
    first = cache.fetch(one)
    (tmp_path / "store").rename(tmp_path / "gone")
    again = cache.fetch(one)

    assert first.profile.images == again.profile.images == 7
    assert again.downloaded == 0


def test_an_artifact_without_a_profile_or_with_an_unusable_one_is_served(cache, store):
    assert cache.fetch(publish(store, 1)).profile is None
    for content in (b"{}", b"\x00" * 90_000):
        unusable = publish(store, 1, profile_digest=store.put_bytes(content))
        assert cache.profile(unusable) is None
        assert cache.fetch(unusable).model_file.exists()
    lost = publish(store, 2, profile_digest="sha256:" + "e" * 64)
    found = cache.fetch(lost)
    assert found.profile is None
    assert found.model_file.read_bytes() == b"\2" * SIZE


def test_a_cached_artifact_is_not_held_up_by_a_profile_that_only_the_store_has(
    cache, store, monkeypatch
):
    """A node that was offline when the profile was fetched, and restarts offline."""
    one = with_profile(store)
    path_of(cache, one.digest)
    cache.fetch(one)
    path_of(cache, one.profile_digest).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(store, "get_file", lambda *args, **kwargs: pytest.fail("the store was asked"))
        assert cache.fetch(one).profile is None
    assert cache.profile(one) == summary()


def test_damaged_file_is_fetched_again(cache, store):
    one = publish(store, 1)
    cache.fetch(one)
    path_of(cache, one.digest).write_bytes(b"damage")
    assert cache.fetch(one).model_file.read_bytes() == b"\1" * SIZE


def test_least_recently_used_goes_and_what_is_in_use_stays(cache, store, used):
    one, two, three = (publish(store, number) for number in (1, 2, 3))
    cache.fetch(one)
    cache.fetch(two)
    for number, digest in enumerate((two.digest, one.digest)):
        os.utime(path_of(cache, digest), (number, number))

    used |= {one.digest, one.manifest_digest}
    cache.fetch(three)

    assert path_of(cache, one.digest).exists()
    assert not path_of(cache, two.digest).exists()
    assert path_of(cache, three.digest).exists()


def test_what_does_not_fit_beside_what_is_in_use_is_refused_and_nothing_goes(cache, store, used):
    one, two, three = (publish(store, number) for number in (1, 2, 3))
    for each in (one, two):
        used |= {each.digest, each.manifest_digest}
        cache.fetch(each)
    old = publish(store, 4)
    path_of(cache, old.manifest_digest).write_bytes(store.get_bytes(old.manifest_digest))

    with pytest.raises(QuotaError, match=r"0\.1 MB do not fit .* quota of 0\.3 MB"):
        cache.fetch(three)

    assert path_of(cache, one.digest).exists()
    assert path_of(cache, two.digest).exists()
    assert path_of(cache, old.manifest_digest).exists()
    # Once one of them is not needed any more, there is room.
    used -= {one.digest}
    assert cache.fetch(three).model_file.exists()


def test_rest_of_an_interrupted_fetch_is_removed_by_the_next_agent(cache, store, tmp_path):
    one = publish(store, 1)
    cache.fetch(one)
    rest = path_of(cache, one.digest).with_name(".abc.partial")
    rest.write_bytes(b"x" * 2 * SIZE)

    again = ArtifactCache(tmp_path / "cache", store, 10)

    assert not rest.exists()
    assert again.fetch(one).downloaded == 0


def test_two_fetches_of_one_artifact_share_the_download(tmp_path, store):
    slow = GatedStore(store, closed=True)
    cache = ArtifactCache(tmp_path / "cache", slow, 2 * SIZE + 70_000)
    one = publish(store, 1)
    with ThreadPoolExecutor(2) as pool:
        fetches = [pool.submit(cache.fetch, one) for _ in range(2)]
        assert slow.waiting.wait(10)
        slow.gate.set()
        files = [fetch.result(10).model_file for fetch in fetches]

    assert files[0].read_bytes() == files[1].read_bytes() == b"\1" * SIZE
    assert sorted(slow.downloads) == sorted({one.digest, one.manifest_digest})


def test_fetch_that_is_not_to_go_on_stops_between_two_pieces_and_leaves_nothing(tmp_path, store):
    cache = ArtifactCache(tmp_path / "cache", store, 2 * SIZE + 70_000)
    asked: list[bool] = []

    def goes_on() -> bool:
        asked.append(True)
        return len(asked) < 2

    with pytest.raises(StoppedError):
        cache.fetch(publish(store, 1), goes_on)

    # The manifest came, the model file did not.
    assert [path.name[0] for path in (tmp_path / "cache/blobs/sha256").iterdir()] != ["."]
    assert cache.size() < SIZE


def test_room_for_a_fetch_in_progress_is_not_given_away(tmp_path, store, used):
    slow = GatedStore(store, closed=True)
    cache = ArtifactCache(tmp_path / "cache", slow, SIZE + 70_000)
    one, two = publish(store, 1), publish(store, 2)
    slow.gate.set()
    path_of(cache, one.manifest_digest).parent.mkdir(parents=True)
    for each in (one, two):
        path_of(cache, each.manifest_digest).write_bytes(store.get_bytes(each.manifest_digest))
    slow.waiting.clear()
    slow.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.fetch, one)
        assert slow.waiting.wait(10)
        with pytest.raises(QuotaError):
            cache.fetch(two)
        slow.gate.set()
        assert first.result(10).downloaded == SIZE


def test_missing_and_damaged_artifacts_are_told_apart(cache, store, tmp_path):
    one, two = publish(store, 1), publish(store, 2)
    (tmp_path / "store" / blob_key(one.digest)).unlink()
    (tmp_path / "store" / blob_key(two.digest)).write_bytes(b"damage")
    with pytest.raises(BlobMissing, match=one.digest[7:]):
        cache.fetch(one)
    with pytest.raises(DigestMismatch, match=two.digest[7:]):
        cache.fetch(two)
    assert not path_of(cache, two.digest).exists()


def test_manifest_of_another_file_is_refused(cache, store):
    one, two = publish(store, 1), publish(store, 2)
    mixed = two.model_copy(update={"manifest_digest": one.manifest_digest})
    with pytest.raises(ManifestError, match=r"of m-2 describes another file \(onnx, sha256:"):
        cache.fetch(mixed)


def test_manifest_that_is_none_is_refused(cache, store):
    wrong = publish(store, 1, manifest_digest=store.put_bytes(b'{"format":"onnx"}'))
    with pytest.raises(ManifestError, match="worker image older"):
        cache.fetch(wrong)


def test_the_quota_counts_bytes_and_not_what_a_manifest_says(
    cache: ArtifactCache, store: Store, tmp_path: Path
) -> None:
    content = b"x" * (40 * SIZE)
    manifest = ArtifactManifest(
        format="onnx",
        file=ArtifactFile(name="m.onnx", digest=sha256_bytes(content), size_bytes=1),
        classes=("cat",),
        imgsz=(64, 64),
        input=TensorSpec(name="images", dtype="FP32", shape=(1, 3, 64, 64)),
        outputs=(TensorSpec(name="output0", dtype="FP32", shape=(1, 5, 84)),),
    )
    liar = publish(
        store,
        1,
        digest=store.put_bytes(content),
        manifest_digest=store.put_bytes(manifest.dump()),
    )
    with pytest.raises(QuotaError, match="do not fit into the cache's quota"):
        cache.fetch(liar)
    assert not path_of(cache, liar.digest).exists()
    assert cache.size() < 2 * SIZE + 70_000
    assert list((tmp_path / "cache").rglob("*.partial")) == []
    assert cache.fetch(publish(store, 2)).downloaded > SIZE, "room for others again"


def test_a_manifest_of_any_size_is_not_read_into_memory(tmp_path: Path, store: Store) -> None:
    cache = ArtifactCache(tmp_path / "cache", store, 100 * SIZE)
    huge = publish(store, 1, manifest_digest=store.put_bytes(b" " * 1_100_000))
    with pytest.raises(ManifestError, match="larger than"):
        cache.fetch(huge)
