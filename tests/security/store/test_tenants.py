"""What a key of the embedded store may do: its own namespace's bucket, and there only its part.

Real: the chart's accounts, the init container's code, versitygw. Not real: the pod around them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from obstore.exceptions import BaseError

from modelyard import embeddedstore
from modelyard.store import AccessDenied, BlobMissing, sha256_bytes
from modelyard.store.opening import Credentials

from ... import s3signing
from .conftest import SYSTEM, Embedded, accounts_of, values

BIG = b"x" * (12 << 20)


def refused(act: Callable[[], Any]) -> None:
    """The server refuses it, for lack of rights."""
    with pytest.raises((BaseError, PermissionError)) as caught:
        act()
    text = str(caught.value)
    assert any(word in text for word in ("403", "AccessDenied", "Access Denied")), text


@pytest.fixture
def theirs(embedded: Embedded) -> Iterator[str]:
    """The key of an object in a's bucket, made by a's own jobs."""
    bucket = embedded.bucket("a", embedded.key("a", "writer"))
    key = f"blobs/{uuid.uuid4()}"
    obstore.put(bucket, key, b"weights of team a")
    yield key
    assert bytes(obstore.get(bucket, key).bytes()) == b"weights of team a"


@pytest.mark.parametrize("who", ["writer", "reader", None])
def test_another_namespaces_key_reaches_nothing(
    embedded: Embedded, theirs: str, who: str | None
) -> None:
    bucket = embedded.bucket("a", embedded.key("b", who) if who else None)
    refused(lambda: obstore.get(bucket, theirs).bytes())
    refused(lambda: obstore.head(bucket, theirs))
    refused(lambda: list(obstore.list(bucket)))
    refused(lambda: list(obstore.list(bucket, prefix="blobs")))
    refused(lambda: obstore.put(bucket, theirs, b"planted"))
    refused(lambda: obstore.put(bucket, "blobs/new", b"planted"))
    refused(lambda: obstore.put(bucket, "blobs/big", BIG, chunk_size=5 << 20))
    refused(lambda: obstore.delete(bucket, theirs))
    refused(lambda: obstore.copy(bucket, theirs, "blobs/copy"))


@pytest.mark.parametrize("copied", ["{}", "../modelyard-a/{}", "%2e%2e/modelyard-a/{}"])
def test_nothing_is_copied_out_of_another_bucket(
    embedded: Embedded, theirs: str, copied: str
) -> None:
    """The copy names its source in a header: signed with b's key, into b's own bucket."""
    own = embedded.bucket("b", embedded.key("b", "writer"))
    url = obstore.sign(own, "PUT", "stolen", timedelta(minutes=1))
    source = f"/modelyard-a/{theirs}" if copied == "{}" else f"/modelyard-b/{copied.format(theirs)}"
    answer = httpx.put(url, headers={"x-amz-copy-source": source}, trust_env=False)
    try:
        stolen = bytes(obstore.get(own, "stolen").bytes())
    except FileNotFoundError:
        stolen = b""
    assert b"weights of team a" not in stolen, answer.text
    obstore.delete(own, "stolen")


def test_agents_read_blobs_and_nothing_else(embedded: Embedded, theirs: str) -> None:
    jobs = embedded.bucket("a", embedded.key("a", "writer"))
    for key in ("runs/1/result.json", "weights/yolo11n.pt.json", "uploads/shelf.zip"):
        obstore.put(jobs, key, b"{}")
    agent = embedded.bucket("a", embedded.key("a", "reader"))
    assert bytes(obstore.get(agent, theirs).bytes()) == b"weights of team a"
    with pytest.raises(FileNotFoundError):
        obstore.get(agent, "blobs/missing")
    for key in ("runs/1/result.json", "weights/yolo11n.pt.json", "uploads/shelf.zip"):
        refused(lambda key=key: obstore.get(agent, key).bytes())
    refused(lambda: obstore.put(agent, theirs, b"planted"))
    refused(lambda: obstore.put(agent, "blobs/new", b"planted"))
    refused(lambda: obstore.put(agent, "captures/new", b"planted"))
    refused(lambda: obstore.put(agent, "blobs/big", BIG, chunk_size=5 << 20))
    refused(lambda: obstore.delete(agent, theirs))


def test_a_presigned_put_carries_the_rights_of_its_signer(embedded: Embedded) -> None:
    jobs = embedded.bucket("a", embedded.key("a", "writer"))
    key = f"captures/{uuid.uuid4()}"
    once = {"if-none-match": "*"}
    url = obstore.sign(jobs, "PUT", key, timedelta(minutes=5))
    assert httpx.put(url, content=b"image", headers=once, trust_env=False).status_code == 200
    assert httpx.put(url, content=b"other", headers=once, trust_env=False).status_code == 412
    assert bytes(obstore.get(jobs, key).bytes()) == b"image"
    # A URL is for one key.
    elsewhere = url.replace(key, "captures/elsewhere")
    assert httpx.put(elsewhere, content=b"x", trust_env=False).status_code == 403
    for signer in (embedded.key("a", "reader"), embedded.key("b", "writer")):
        forged = obstore.sign(embedded.bucket("a", signer), "PUT", key, timedelta(minutes=5))
        assert httpx.put(forged, content=b"x", trust_env=False).status_code == 403
    assert bytes(obstore.get(jobs, key).bytes()) == b"image"


def test_the_collector_deletes_and_never_writes_blobs(embedded: Embedded, theirs: str) -> None:
    key = embedded.key(SYSTEM, "collector")
    for namespace in ("a", "b"):
        bucket = embedded.bucket(namespace, key)
        garbage = f"blobs/{uuid.uuid4()}"
        owner = embedded.bucket(namespace, embedded.key(namespace, "writer"))
        obstore.put(owner, garbage, b"garbage")
        assert garbage in [one["path"] for page in obstore.list(bucket) for one in page]
        assert bytes(obstore.get(bucket, garbage).bytes()) == b"garbage"
        for planted in (garbage, "weights/yolo11n.pt.json"):
            refused(partial(obstore.put, bucket, planted, b"planted"))
        obstore.put(bucket, "_collector/state.json", b"{}")
        obstore.delete(bucket, garbage)
        with pytest.raises(FileNotFoundError):
            obstore.get(owner, garbage)


def test_the_collector_ends_unfinished_uploads_of_every_part(embedded: Embedded) -> None:
    key = embedded.key(SYSTEM, "collector")
    for namespace in ("a", "b"):
        writer = embedded.key(namespace, "writer")
        path = f"/modelyard-{namespace}/blobs/{uuid.uuid4()}"
        s3signing.request(embedded.endpoint, writer, "POST", path, query="uploads")
        uploads = embedded.store(namespace, key).uploads
        (begun,) = uploads.begun()
        uploads.abort(begun)
        assert not list(uploads.begun())
        uploads.abort(begun)  # It has ended: no error.


@pytest.mark.parametrize("who", [("b", "writer"), ("b", "reader"), ("a", "reader")])
def test_no_other_key_ends_uploads(embedded: Embedded, who: tuple[str, str]) -> None:
    path = f"/modelyard-a/blobs/{uuid.uuid4()}"
    s3signing.request(embedded.endpoint, embedded.key("a", "writer"), "POST", path, query="uploads")
    own = embedded.store("a", embedded.key("a", "writer")).uploads
    (begun,) = own.begun()
    intruder = embedded.store("a", embedded.key(*who)).uploads
    with pytest.raises(AccessDenied):
        list(intruder.begun())
    with pytest.raises(AccessDenied):
        intruder.abort(begun)
    assert list(own.begun()) == [begun]
    own.abort(begun)


@pytest.mark.parametrize("query", ["policy", "acl", "ownershipControls", "cors"])
def test_no_key_changes_who_may_do_what(embedded: Embedded, query: str) -> None:
    root = embedded.key(SYSTEM, "")
    for method, body in (("PUT", b"{}"), ("GET", b""), ("DELETE", b"")):
        for namespace, name in (("a", "writer"), ("a", "reader"), (SYSTEM, "collector")):
            answer = signed(embedded, embedded.key(namespace, name), method, query, body)
            assert "<Code>AccessDenied</Code>" in answer.text, answer.text
    # The signature is right: the root's is taken.
    assert "AccessDenied" not in signed(embedded, root, "GET", query, b"").text


def test_no_key_makes_users_or_buckets(embedded: Embedded) -> None:
    key = embedded.key("a", "writer")
    for method, path in (("PATCH", "/create-user"), ("PATCH", "/list-users"), ("PUT", "/mine")):
        answer = signed(embedded, key, method, "", b"", path=path)
        assert answer.status_code == 403, answer.text


def signed(
    embedded: Embedded, key: Credentials, method: str, query: str, body: bytes, path: str = ""
) -> httpx.Response:
    """A request about a's bucket as a whole, or a path."""
    return s3signing.request(
        embedded.endpoint, key, method, path or "/modelyard-a", query=query, body=body
    )


def test_a_version_of_one_namespace_is_none_in_another(embedded: Embedded) -> None:
    """As workloads use it: the same digest is stored twice, and read by its own namespace only."""
    mine = embedded.store("a", embedded.key("a", "writer"))
    other = embedded.store("b", embedded.key("b", "writer"))
    content = uuid.uuid4().bytes
    digest = mine.put_bytes(content)
    assert mine.get_bytes(digest) == content
    with pytest.raises(BlobMissing):
        other.get_bytes(digest)
    mine.put_pointer("weights/yolo11n.pt.json", {"digest": digest})
    assert other.get_pointer("weights/yolo11n.pt.json") is None
    intruder = embedded.store("a", embedded.key("b", "writer"))
    for act in (
        lambda: intruder.get_bytes(digest),
        lambda: intruder.put_bytes(b"planted"),
        lambda: intruder.put_pointer("weights/yolo11n.pt.json", {"digest": digest}),
        lambda: intruder.get_pointer("weights/yolo11n.pt.json"),
        lambda: intruder.delete(digest),
    ):
        with pytest.raises(AccessDenied):
            act()
    agent = embedded.store("a", embedded.key("a", "reader"))
    assert agent.get_bytes(digest) == content
    with pytest.raises(BlobMissing):
        agent.get_bytes(sha256_bytes(b"never stored"))
    with pytest.raises(AccessDenied):
        agent.put_bytes(b"planted")
    with pytest.raises(AccessDenied):
        agent.delete(digest)


def test_a_new_namespace_gets_a_part_and_a_removed_one_loses_its_key(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    with start(values("a", "b"), tmp_path) as before:
        digest = before.store("a", before.key("a", "writer")).put_bytes(b"kept")
        before.store("b", before.key("b", "writer")).put_bytes(b"kept too")
        removed = before.key("b", "writer")
    with start(values("a", "c"), tmp_path) as after:
        assert after.key("a", "writer") == before.key("a", "writer")
        assert after.store("a", after.key("a", "writer")).get_bytes(digest) == b"kept"
        assert after.store("c", after.key("c", "writer")).put_bytes(b"new")
        with pytest.raises(AccessDenied):
            after.store("b", removed).get_bytes(sha256_bytes(b"kept too"))
        # What is stored outlives it; only the root reaches it now.
        root = Credentials("root-of-this-test", "s" * 40)
        assert after.store("b", root).get_bytes(sha256_bytes(b"kept too")) == b"kept too"


def test_many_namespaces_fit_since_each_has_a_policy_of_its_own(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    names = [f"team-{number}-{'n' * 30}" for number in range(30)]
    with start(values(*names), tmp_path) as running:
        last = names[-1]
        store = running.store(last, running.key(last, "writer"))
        assert store.get_bytes(store.put_bytes(b"x")) == b"x"
    assert len(accounts_of(tmp_path)) == 61


WRITER = {
    "access": "Writer",
    "namespace": "a",
    "accessKeyId": "key-a",
    "secretAccessKey": "s" * 40,
}


@pytest.mark.parametrize(
    ("accounts", "says"),
    [
        pytest.param([WRITER, WRITER | {"namespace": "b"}], "access key of another", id="shared"),
        pytest.param([WRITER | {"accessKeyId": "root"}], "access key of another", id="root's"),
        pytest.param([WRITER | {"namespace": "../a"}], "0.namespace", id="path"),
        pytest.param([WRITER | {"namespace": None}], "name a namespace", id="everywhere"),
        pytest.param([WRITER | {"access": "Admin"}], "0.access", id="unknown access"),
        pytest.param([WRITER | {"secretAccessKey": "short"}], "0.secretAccessKey", id="guessable"),
        pytest.param({"a": 1}, "valid array", id="no list"),
    ],
)
def test_a_list_of_accounts_that_cannot_be_kept_apart_stops_the_store(
    accounts: Any, says: str
) -> None:
    with pytest.raises(embeddedstore.InvalidAccounts, match=says) as caught:
        embeddedstore.parse(json.dumps(accounts), "root")
    assert "s" * 40 not in str(caught.value)


def test_a_root_secret_without_accounts_stops_the_store(tmp_path: Path) -> None:
    (tmp_path / "accounts").mkdir()
    (tmp_path / "accounts/AWS_ACCESS_KEY_ID").write_text("root")
    arguments = [f"--accounts={tmp_path}/accounts", f"--data={tmp_path}", f"--users={tmp_path}"]
    with pytest.raises(SystemExit, match=r"no accounts\.json"):
        embeddedstore.main([*arguments, "--bucket-prefix=modelyard-"])
    assert not (tmp_path / "users.json").exists()
