"""The store on a real S3 server."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract.run import StoreLocation
from modelyard.store import (
    AccessDenied,
    BlobMissing,
    BucketMissing,
    DigestMismatch,
    Store,
    StoreUnavailable,
    sha256_bytes,
)
from modelyard.store.opening import Retries

MISSING = sha256_bytes(b"never stored")


def test_blobs_and_pointers(s3: Any, tmp_path: Path) -> None:
    store = Store.open(s3.location())  # credentials from the environment
    big = os.urandom(20 << 20)  # three parts
    (tmp_path / "big").write_bytes(big)
    digest = store.put_file(tmp_path / "big")
    assert digest == sha256_bytes(big)
    assert store.size(digest) == len(big)
    assert store.get_file(digest, tmp_path / "copy").read_bytes() == big
    assert store.put_bytes(b"small") == sha256_bytes(b"small")
    store.put_pointer("runs/1/result.json", {"a": 1})
    assert store.get_pointer("runs/1/result.json") == {"a": 1}
    assert store.get_pointer("runs/2/result.json") is None
    stored = s3.folder / s3.bucket / "store" / "blobs" / "sha256" / digest.partition(":")[2]
    assert stored.stat().st_size == len(big)


@pytest.mark.parametrize("size", [1000, 20 << 20], ids=["one request", "parts"])
def test_putting_the_right_content_mends_a_planted_blob(s3: Any, tmp_path: Path, size: int) -> None:
    store = s3.open()
    (tmp_path / "file").write_bytes(b"x" * size)
    digest = store.put_file(tmp_path / "file")
    stored = s3.folder / s3.bucket / "store" / "blobs" / "sha256" / digest.partition(":")[2]
    stored.write_bytes(b"y" * size)
    assert not store.intact(digest)
    store.put_file(tmp_path / "file")
    assert store.intact(digest)


def test_a_file_that_changes_while_it_is_sent_is_not_stored(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = s3.open()
    (tmp_path / "file").write_bytes(b"x" * (20 << 20))
    monkeypatch.setattr("modelyard.store.store.sha256_file", lambda path: MISSING)
    with pytest.raises(DigestMismatch, match="changed"):
        store.put_file(tmp_path / "file")
    assert not store.exists(MISSING)


def test_a_damaged_blob(s3: Any, tmp_path: Path) -> None:
    store = s3.open()
    digest = store.put_bytes(b"hello")
    (s3.folder / s3.bucket / "store/blobs/sha256" / digest.partition(":")[2]).write_bytes(b"hullo")
    with pytest.raises(DigestMismatch, match=digest.partition(":")[2]):
        store.get_file(digest, tmp_path / "x")


def test_a_missing_blob(s3: Any, tmp_path: Path) -> None:
    store = s3.open()
    assert not store.exists(MISSING)
    with pytest.raises(BlobMissing, match=MISSING.partition(":")[2]):
        store.get_file(MISSING, tmp_path / "x")


def test_a_missing_bucket(s3: Any) -> None:
    store = s3.open(bucket="nowhere")
    for use in (
        lambda: store.exists(MISSING),
        lambda: store.get_bytes(MISSING),
        lambda: store.put_bytes(b"x"),
        lambda: store.put_pointer("runs/1/result.json", {}),
    ):
        with pytest.raises(BucketMissing, match=r"s3://nowhere.*bucket does not exist"):
            use()


def test_wrong_credentials(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_secret = s3.open(secret="wrong-secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    unknown_key = Store.open(s3.location())
    for store in (wrong_secret, unknown_key):
        for use in (
            lambda store=store: store.exists(MISSING),
            lambda store=store: store.get_bytes(MISSING),
            lambda store=store: store.put_bytes(b"x"),
        ):
            with pytest.raises(AccessDenied, match="check the credentials"):
                use()


def test_an_unreachable_server_is_tried_again_but_not_for_ever(s3: Any) -> None:
    location = StoreLocation(url="s3://data/store", endpoint="http://127.0.0.1:9")
    store = Store.open(location, retries=Retries(attempts=2, seconds=5))
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"s3://data/store at http://127\.0\.0\.1:9"):
        store.get_bytes(MISSING)
    assert time.monotonic() - started < 10
