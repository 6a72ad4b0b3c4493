"""The store's promises, on a directory: content addressing, verification, pointers."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard.contract.paths import blob_key, checkpoint_key
from modelyard.contract.run import StoreLocation
from modelyard.store import BlobMissing, DigestMismatch, Store, StoreError, sha256_bytes

HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Store:
    return Store.open(StoreLocation(url=folder.as_uri()))


def test_a_blob_lies_under_its_digest(store: Store, folder: Path) -> None:
    assert store.put_bytes(b"hello") == HELLO
    assert (folder / blob_key(HELLO)).read_bytes() == b"hello"
    assert store.exists(HELLO)
    assert store.size(HELLO) == 5
    assert store.get_bytes(HELLO) == b"hello"


def test_a_file_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100_000  # several parts
    source = tmp_path / "model.onnx"
    source.write_bytes(content)
    digest = store.put_file(source)
    assert digest == sha256_bytes(content)
    target = tmp_path / "deep" / "copy.onnx"
    assert store.get_file(digest, target) == target
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["copy.onnx"]


def test_an_empty_file_is_a_blob_too(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    digest = store.put_file(tmp_path / "empty")
    assert store.get_bytes(digest) == b""


@pytest.mark.parametrize("planted", [b"he", b"hullo", b""], ids=["short", "same size", "empty"])
@pytest.mark.parametrize("by", ["file", "bytes"])
def test_putting_the_right_content_mends_a_damaged_blob(
    store: Store, folder: Path, tmp_path: Path, planted: bytes, by: str
) -> None:
    (folder / blob_key(HELLO)).parent.mkdir(parents=True)
    (folder / blob_key(HELLO)).write_bytes(planted)
    assert not store.intact(HELLO)
    if by == "file":
        (tmp_path / "a").write_bytes(b"hello")
        store.put_file(tmp_path / "a")
    else:
        store.put_bytes(b"hello")
    assert store.intact(HELLO)
    assert store.get_bytes(HELLO) == b"hello"


def test_putting_a_blob_again_makes_it_young(store: Store, folder: Path, tmp_path: Path) -> None:
    """The collector spares what is young: a put that found its blob there, and left it as it was,
    could see it deleted a moment later."""
    (tmp_path / "a").write_bytes(b"hello")
    for put in (lambda: store.put_bytes(b"hello"), lambda: store.put_file(tmp_path / "a")):
        put()
        os.utime(folder / blob_key(HELLO), (1, 1))
        put()
        assert (folder / blob_key(HELLO)).stat().st_mtime > 1


def test_a_file_that_changes_while_it_is_sent_leaves_the_blob_as_it_was(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_bytes(b"hello")
    source = tmp_path / "a"
    source.write_bytes(b"hello")

    def hashed(path: Path) -> str:
        path.write_bytes(b"hullo")  # another process, right after the file was hashed
        return HELLO

    monkeypatch.setattr("modelyard.store.store.sha256_file", hashed)
    with pytest.raises(DigestMismatch, match="changed"):
        store.put_file(source)
    assert store.get_bytes(HELLO) == b"hello"


def test_what_is_missing_is_not_intact(store: Store) -> None:
    assert not store.intact(HELLO)


def test_a_missing_blob_is_named(store: Store, folder: Path, tmp_path: Path) -> None:
    assert not store.exists(HELLO)
    for read in (
        lambda: store.get_bytes(HELLO),
        lambda: store.size(HELLO),
        lambda: store.get_file(HELLO, tmp_path / "x"),
    ):
        with pytest.raises(BlobMissing) as caught:
            read()
        assert blob_key(HELLO) in str(caught.value)
        assert folder.as_uri() in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_a_damaged_blob_is_never_handed_out(store: Store, folder: Path, tmp_path: Path) -> None:
    store.put_bytes(b"hello")
    (folder / blob_key(HELLO)).write_bytes(b"hullo")
    target = tmp_path / "x"
    target.write_bytes(b"the old one")
    with pytest.raises(DigestMismatch, match="damaged"):
        store.get_file(HELLO, target)
    with pytest.raises(DigestMismatch):
        store.get_bytes(HELLO)
    assert target.read_bytes() == b"the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "x"]


@pytest.mark.parametrize("digest", ["", "hello", "md5:abc", "sha256:../../etc/passwd", HELLO[:-1]])
def test_what_is_no_digest_is_refused(store: Store, digest: str) -> None:
    with pytest.raises(StoreError, match="not a digest"):
        store.get_bytes(digest)


def test_pointers_change(store: Store) -> None:
    key = checkpoint_key("uid-1")
    assert store.get_pointer(key) is None
    store.put_pointer(key, {"epoch": 1, "digest": HELLO})
    store.put_pointer(key, {"epoch": 2, "digest": HELLO})
    assert store.get_pointer(key) == {"epoch": 2, "digest": HELLO}


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_damaged_pointer_is_an_error(store: Store, folder: Path, content: str) -> None:
    store.put_pointer("runs/x.json", {})
    (folder / "runs/x.json").write_text(content, encoding="latin-1")
    with pytest.raises(StoreError, match=r"runs/x\.json"):
        store.get_pointer("runs/x.json")


def test_many_threads_share_a_store(store: Store, tmp_path: Path) -> None:
    contents = [bytes([i]) * 10_000 for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(store.put_bytes, contents * 2))
        assert list(pool.map(store.get_bytes, digests)) == contents * 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/x", "scheme"),
        ("bucket/prefix", "scheme"),
        ("file://relative/path", "file:///absolute/path"),
        ("file:///", "file:///absolute/path"),
        ("s3:///prefix", "bucket's name is missing"),
    ],
)
def test_an_unusable_url_is_refused(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says):
        Store.open(StoreLocation(url=url))


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_other_clouds_open_without_a_request(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    store = Store.open(StoreLocation(url=f"{scheme}://bucket/some/prefix"))
    assert store.url == f"{scheme}://bucket/some/prefix"


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        Store.open(StoreLocation(url=(tmp_path / "file" / "store").as_uri()))
