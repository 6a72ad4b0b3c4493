"""S3 keys and prefixes are opaque strings: asked for as written, at a real S3 server.

Decoys lie where a key would lead if it were read as a URL.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from modelyard.contract import exitcodes
from modelyard.contract.run import StoreLocation
from modelyard.store.opening import Credentials
from modelyard.store.s3protocol import Endpoint
from modelyard.workloads.addresses import AddressRules
from modelyard.workloads.data.s3 import S3Reader

from ... import s3signing
from .conftest import ACCESS_KEY, SECRET_KEY

Run = Callable[..., Any]
KEYS = {f"SOURCE_AWS_{name}": value for name, value in (
    ("ACCESS_KEY_ID", ACCESS_KEY), ("SECRET_ACCESS_KEY", SECRET_KEY))}  # fmt: skip
FOLDERS = {
    "camera #3/": "camera /",
    "what?/": "what",
    "shelf%20a/": "shelf a/",
    "100%/": "100/",
    "a+b/": "a b/",
    "Räume/große Bilder/": "Ra/",
    "a&b=c;d/": "a/",
    '"quoted" \\ ~/': "quoted/",
    "//double//slashes/": "double/slashes/",
    "dots/./in/": "dots/in/",
}
"""Prefixes, and where a client that reads them as URLs, or as paths, would look."""


def put(s3: Any, folder: Path, key: str) -> None:
    shutil.copytree(folder, s3.folder / s3.bucket / key, dirs_exist_ok=True)


def source(s3: Any, key: str) -> dict[str, Any]:
    mine = {"endpoint": s3.endpoint, "credentials": {"name": "mine"}}
    return {"s3": {"bucket": s3.bucket, "key": key} | mine}


# versitygw, over a file system, has neither empty segments nor dots: see the next tests.
@pytest.mark.parametrize("key", [key for key in FOLDERS if "//" not in key and "/." not in key])
def test_a_prefix_is_asked_for_as_written(run_data: Run, s3: Any, dataset: Path, key: str) -> None:
    put(s3, dataset, key)
    decoy = dataset.parent / "decoy"
    shutil.copytree(dataset, decoy)
    shutil.rmtree(decoy / "images" / "val")
    put(s3, decoy, FOLDERS[key])
    ended = run_data(source(s3, key), env=KEYS)
    assert ended.data.valid, ended.outcome
    assert ended.data.images == 8


@pytest.mark.parametrize("name", ["a #1.zip", "a?.zip", "a%20b.zip", "a+b.zip"])
def test_an_archive_is_asked_for_as_written(
    run_data: Run, s3: Any, zipped: Callable[[], bytes], name: str
) -> None:
    (s3.folder / s3.bucket / name).write_bytes(zipped())
    assert run_data(source(s3, name), env=KEYS).data.valid


@pytest.mark.parametrize("key", ["camera #3/", "what?/", "shelf%20a/", "100%/", "a+b/"])
@pytest.mark.parametrize("kind", ["S3", "directory"])
def test_the_own_part_too(
    run_data: Run, s3: Any, dataset: Path, tmp_path: Path, key: str, kind: str
) -> None:
    place = s3.location("my store #1 100%")
    folder = s3.folder / s3.bucket / "my store #1 100%"
    if kind == "directory":
        folder = tmp_path / "my store #1 100%"
        place = StoreLocation(url=folder.as_uri())
    shutil.copytree(dataset, folder / "uploads" / key)
    ended = run_data({"s3": {"key": f"uploads/{key}"}}, store=place)
    assert ended.data.valid, ended.outcome
    assert list((folder / "blobs" / "sha256").iterdir())


@pytest.mark.parametrize("key", FOLDERS)
def test_what_is_sent_is_the_key(key: str, site: Any) -> None:
    """Also keys that versitygw does not have: the request, as a server sees it."""
    site.files = {}
    reader = S3Reader(
        Endpoint.of("data", site.url, "us-east-1"),
        label="it",
        field="spec",
        credentials=None,
        rules=AddressRules.parse(["127.0.0.0/8"]),
    )
    for act in (lambda: list(reader.pages(key)), lambda: reader.get(f"{key}x.png", print)):
        with pytest.raises(Exception, match="not found"):
            act()
    (listing, _), (get, _) = site.requests
    path, _, query = listing.partition("?")
    assert path == "/data/"
    assert unquote(dict(one.split("=") for one in query.split("&"))["prefix"]) == key
    assert unquote(get) == f"/data/{key}x.png"
    assert "?" not in get
    assert "#" not in get


def test_a_folder_made_in_a_console_is_no_file(run_data: Run, s3: Any, dataset: Path) -> None:
    """The empty object `shelf/`, as the S3 API makes it, beside the files, and deeper ones."""
    for marker in ("shelf/", "shelf/labels/", "shelf/images/empty/"):
        key = Credentials(ACCESS_KEY, SECRET_KEY)
        answer = s3signing.request(s3.endpoint, key, "PUT", f"/{s3.bucket}/{marker}")
        assert answer.status_code == httpx.codes.OK, answer.text
    put(s3, dataset, "shelf")
    listed = s3signing.request(s3.endpoint, key, "GET", f"/{s3.bucket}", query="list-type").text
    assert "<Key>shelf/</Key>" in listed
    ended = run_data(source(s3, "shelf/"), env=KEYS)
    assert ended.data.valid, ended.outcome
    assert ended.data.images == 8


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (("images//1.png", "images/1.png"), "are one path"),
        (("images", "images/1.png"), "is a file, and a folder"),
        (("n" * 256 + "/1.png",), "more than 255 bytes"),
        (("ü" * 200,), "more than 255 bytes"),
    ],
)
def test_keys_that_cannot_be_files_are_told(
    run_data: Run, site: Any, keys: tuple[str, ...], says: str
) -> None:
    """A server lists what no file system has; versitygw, which is over one, does not."""
    listed = "".join(f"<Contents><Key>a/{k}</Key><Size>1</Size></Contents>" for k in keys)
    site.files["/data/"] = f"<ListBucketResult>{listed}</ListBucketResult>".encode()
    ended = run_data({"s3": {"bucket": "data", "key": "a/", "endpoint": site.url}})
    assert (ended.code, ended.data.valid) == (exitcodes.OK, False)
    assert says in ended.data.problems[0]
    assert keys[0][:50] in ended.data.problems[0]


def test_a_prefix_with_nothing_but_its_marker_is_empty(run_data: Run, s3: Any) -> None:
    key = Credentials(ACCESS_KEY, SECRET_KEY)
    s3signing.request(s3.endpoint, key, "PUT", f"/{s3.bucket}/shelf/")
    ended = run_data(source(s3, "shelf/"), env=KEYS)
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "SourceMissing")
