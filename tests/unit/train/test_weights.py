"""Weights by digest, wherever they come from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelyard.api.modelversion import WeightsSource
from modelyard.contract.paths import blob_key
from modelyard.contract.run import ExportRun, StoreLocation
from modelyard.store import Store, sha256_bytes
from modelyard.workloads import weights
from modelyard.workloads.errors import UserError

CONTENT = b"weights of a model"
DIGEST = sha256_bytes(CONTENT)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def location(tmp_path: Path) -> StoreLocation:
    return StoreLocation(url=f"file://{tmp_path}/store")


@pytest.fixture
def store(location: StoreLocation) -> Store:
    return Store.open(location)


@pytest.fixture
def run(location: StoreLocation) -> ExportRun:
    """A run that needs weights, and may fetch them from this machine."""
    return ExportRun.model_validate(
        {
            "object": {"namespace": "shop", "name": "shelf-1", "uid": "1"},
            "store": location,
            "allowedPrivateNetworks": ["127.0.0.0/8"],
            "weights": {"digest": DIGEST},
            "export": {"name": "onnx", "format": "onnx"},
        }
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "best.pt").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_what_the_store_has_is_not_fetched_elsewhere(
    store: Store, run: ExportRun, tmp_path: Path
) -> None:
    store.put_bytes(CONTENT)
    source = WeightsSource(digest=DIGEST, uri="http://127.0.0.1:9/nobody")
    path = weights.fetch(store, run, source, tmp_path / "w")
    assert path.name == "weights.pt"
    assert path.read_bytes() == CONTENT


def test_a_uri_is_fetched_once_and_then_in_the_store(
    store: Store, run: ExportRun, tmp_path: Path, site: str
) -> None:
    source = WeightsSource(digest=DIGEST, uri=f"{site}/best.pt")
    assert weights.fetch(store, run, source, tmp_path / "w").read_bytes() == CONTENT
    assert store.exists(DIGEST)


def test_a_damaged_blob_is_mended_from_the_uri(
    store: Store, run: ExportRun, tmp_path: Path, site: str
) -> None:
    store.put_bytes(CONTENT)
    blob = tmp_path / "store" / blob_key(DIGEST)
    blob.write_bytes(CONTENT[::-1])
    source = WeightsSource(digest=DIGEST, uri=f"{site}/best.pt")
    assert weights.fetch(store, run, source, tmp_path / "w").read_bytes() == CONTENT
    assert blob.read_bytes() == CONTENT


def test_damaged_weights_without_a_uri_are_named_so(
    store: Store, run: ExportRun, tmp_path: Path
) -> None:
    store.put_bytes(CONTENT)
    (tmp_path / "store" / blob_key(DIGEST)).write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match=r"are damaged in the store.*modelyard weights add FILE"):
        weights.fetch(store, run, WeightsSource(digest=DIGEST), tmp_path / "w")


def test_another_content_than_the_digest_promises_is_refused(
    store: Store, run: ExportRun, tmp_path: Path, site: str
) -> None:
    wanted = sha256_bytes(b"another")
    source = WeightsSource(digest=wanted, uri=f"{site}/best.pt")
    with pytest.raises(UserError) as caught:
        weights.fetch(store, run, source, tmp_path / "w")
    assert caught.value.reason == "DigestMismatch"
    assert DIGEST in caught.value.message
    assert wanted in caught.value.message
    assert not store.exists(DIGEST)
    assert not list((tmp_path / "w").iterdir())


def test_a_uri_that_is_not_there_says_so(
    store: Store, run: ExportRun, tmp_path: Path, site: str
) -> None:
    source = WeightsSource(digest=DIGEST, uri=f"{site}/none.pt")
    with pytest.raises(UserError, match=r"none\.pt.*404") as caught:
        weights.fetch(store, run, source, tmp_path / "w")
    assert caught.value.reason == "WeightsUnavailable"


def test_without_a_uri_the_user_is_told_how_to_add_weights(
    store: Store, run: ExportRun, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="modelyard weights add FILE"):
        weights.fetch(store, run, WeightsSource(digest=DIGEST), tmp_path / "w")
