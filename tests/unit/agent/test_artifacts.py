"""The cache of artifacts, over a real directory store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.api.modelserver import Assignment
from modelyard.contract.manifest import ArtifactFile, ArtifactManifest, TensorSpec
from modelyard.contract.paths import blob_key
from modelyard.contract.run import StoreLocation
from modelyard.store import BlobMissing, DigestMismatch, Store, sha256_bytes
from modelyard.workloads.agent.artifacts import ArtifactCache, ManifestError

SIZE = 100_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(StoreLocation(url=f"file://{tmp_path}/store"))


@pytest.fixture
def cache(tmp_path: Path, store: Store) -> ArtifactCache:
    # Room for two model files with their manifests, not for three.
    return ArtifactCache(tmp_path / "cache", store, 2 * SIZE + 50_000)


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
    first = cache.fetch(one, keep=())
    (tmp_path / "store").rename(tmp_path / "gone")
    again = cache.fetch(one, keep=())

    assert first.downloaded > SIZE
    assert again.downloaded == 0
    assert again.model_file.read_bytes() == b"\1" * SIZE


def test_damaged_file_is_fetched_again(cache, store):
    one = publish(store, 1)
    cache.fetch(one, keep=())
    path_of(cache, one.digest).write_bytes(b"damage")
    assert cache.fetch(one, keep=()).model_file.read_bytes() == b"\1" * SIZE


def test_least_recently_used_goes_and_what_is_in_use_stays(cache, store):
    one, two, three = (publish(store, number) for number in (1, 2, 3))
    cache.fetch(one, keep=())
    cache.fetch(two, keep=())
    for number, digest in enumerate((two.digest, one.digest)):
        os.utime(path_of(cache, digest), (number, number))

    cache.fetch(three, keep=(one.digest, one.manifest_digest))

    assert path_of(cache, one.digest).exists()
    assert not path_of(cache, two.digest).exists()
    assert path_of(cache, three.digest).exists()


def test_quota_yields_to_what_is_in_use(tmp_path, store):
    small = ArtifactCache(tmp_path / "small", store, 10)
    one, two = publish(store, 1), publish(store, 2)
    small.fetch(one, keep=())
    small.fetch(two, keep=(one.digest, one.manifest_digest))
    assert path_of(small, one.digest).exists()
    assert path_of(small, two.digest).exists()


def test_rest_of_an_interrupted_fetch_counts_and_goes_first(cache, store):
    one = publish(store, 1)
    cache.fetch(one, keep=())
    rest = path_of(cache, one.digest).with_name(".abc.partial")
    rest.write_bytes(b"x" * 2 * SIZE)
    os.utime(rest, (1, 1))

    cache.fetch(publish(store, 2), keep=(one.digest, one.manifest_digest))

    assert not rest.exists()
    assert path_of(cache, one.digest).exists()


def test_missing_and_damaged_artifacts_are_told_apart(cache, store, tmp_path):
    one, two = publish(store, 1), publish(store, 2)
    (tmp_path / "store" / blob_key(one.digest)).unlink()
    (tmp_path / "store" / blob_key(two.digest)).write_bytes(b"damage")
    with pytest.raises(BlobMissing, match=one.digest[7:]):
        cache.fetch(one, keep=())
    with pytest.raises(DigestMismatch, match=two.digest[7:]):
        cache.fetch(two, keep=())
    assert not path_of(cache, two.digest).exists()


def test_manifest_of_another_file_is_refused(cache, store):
    one, two = publish(store, 1), publish(store, 2)
    mixed = two.model_copy(update={"manifest_digest": one.manifest_digest})
    with pytest.raises(ManifestError, match=r"of m-2 describes another file \(onnx, sha256:"):
        cache.fetch(mixed, keep=())


def test_manifest_that_is_none_is_refused(cache, store):
    wrong = publish(store, 1, manifest_digest=store.put_bytes(b'{"format":"onnx"}'))
    with pytest.raises(ManifestError, match="worker image older"):
        cache.fetch(wrong, keep=())
