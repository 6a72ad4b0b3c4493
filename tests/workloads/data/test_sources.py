"""The same dataset from every kind of source, and what a user reads when a source is unusable."""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract import exitcodes
from modelyard.workloads.addresses import AddressRules
from modelyard.workloads.data.fetch_http import download
from modelyard.workloads.data.limits import Limits
from modelyard.workloads.errors import RetryableError, UserError

Run = Callable[..., Any]
PVC = {"pvc": {"claimName": "data", "path": ""}}
KEYS = {"SOURCE_AWS_ACCESS_KEY_ID": "modelyard", "SOURCE_AWS_SECRET_ACCESS_KEY": "modelyard-secret"}


def put(s3: Any, folder: Path, key: str) -> None:
    """Copies a folder into the bucket, as a client would upload it."""
    shutil.copytree(folder, s3.folder / s3.bucket / key)


def s3_source(s3: Any, key: str, **more: Any) -> dict[str, Any]:
    mine = {"endpoint": s3.endpoint, "credentials": {"name": "mine"}}
    return {"s3": {"bucket": s3.bucket, "key": key, **mine, **more}}


def test_equal_content_has_one_digest_whatever_the_source(
    run_data: Run,
    dataset: Path,
    s3: Any,
    site: Any,
    zipped: Callable[[], bytes],
    tarred: Callable[[], bytes],
) -> None:
    put(s3, dataset, "sets/digits")
    put(s3, dataset, "store/uploads/digits")
    (s3.folder / s3.bucket / "digits.zip").write_bytes(zipped())
    (dataset.parent / "claim").mkdir()
    (dataset.parent / "claim" / "digits.tgz").write_bytes(tarred())
    site.files = {"/digits.zip": zipped(), "/download": tarred()}
    ended = [
        run_data(PVC, module=True),
        run_data(
            {"pvc": {"claimName": "data", "path": "/digits.tgz"}}, claim=dataset.parent / "claim"
        ),
        run_data({"http": {"url": f"{site.url}/digits.zip"}}),
        run_data({"http": {"url": f"{site.url}/download?name=digits"}}),
        run_data(s3_source(s3, "sets/digits/"), env=KEYS),
        run_data(s3_source(s3, "digits.zip"), env=KEYS),
        run_data({"s3": {"key": "uploads/digits/"}}, store=s3.location()),
        run_data(
            {"s3": {"bucket": s3.bucket, "key": "store/uploads/digits/"}}, store=s3.location()
        ),
    ]
    assert [one.code for one in ended] == [exitcodes.OK] * len(ended)
    results = [one.data for one in ended]
    assert all(result.valid for result in results)
    assert len({result.digest for result in results}) == 1
    first = results[0]
    assert first.images == 8
    assert [(s.name, s.images, s.boxes, s.backgrounds) for s in first.splits] == [
        ("train", 6, 3, 4),
        ("val", 2, 2, 0),
    ]
    assert [(c.id, c.name, c.boxes) for c in first.classes] == [(0, "cat", 2), (1, "dog", 3)]
    assert first.class_count == 2
    assert first.size_bytes > 8 * 512


def test_a_source_is_read_only(run_data: Run, dataset: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    assert run_data(PVC).data.valid
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing", "SourceMissing"), ("../store", "InvalidSource"), ("data.yaml", "NoArchive")],
)
def test_an_unusable_path_of_a_claim(path: str, reason: str, run_data: Run, dataset: Path) -> None:
    ended = run_data({"pvc": {"claimName": "data", "path": path}})
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, reason)
    assert f"claim data: {path}" in ended.outcome.message


def test_an_empty_prefix(run_data: Run, s3: Any) -> None:
    ended = run_data(s3_source(s3, "nothing/"), env=KEYS)
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "SourceMissing")
    assert f"s3://data/nothing/ at {s3.endpoint}" in ended.outcome.message


def test_a_missing_object_or_bucket(run_data: Run, s3: Any) -> None:
    for source in (s3_source(s3, "digits.zip"), s3_source(s3, "digits/") | {}):
        source["s3"]["bucket"] = "nowhere"
        ended = run_data(source, env=KEYS)
        assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "SourceMissing")
        assert "nowhere" in ended.outcome.message
    ended = run_data(s3_source(s3, "digits.zip"), env=KEYS)
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "SourceMissing")
    assert "s3://data/digits.zip" in ended.outcome.message


def test_wrong_or_missing_credentials(run_data: Run, s3: Any) -> None:
    source = s3_source(s3, "digits/")
    wrong = run_data(source, env=KEYS | {"SOURCE_AWS_SECRET_ACCESS_KEY": "wrong"})
    none = run_data(source)
    for ended in (wrong, none):
        assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "SourceAccessDenied")
    assert "Secret mine" in none.outcome.message
    assert "wrong" not in wrong.outcome.message


def test_any_name_that_an_object_may_have(run_data: Run, s3: Any, dataset: Path) -> None:
    for i, name in enumerate(("a b", "ü", "100%", "a%20b", "a#b?c", "~'$(!)*;:@,+&=")):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            path = dataset / kind / "train" / f"{i}.{suffix}"
            path.rename(path.with_name(f"{name}.{suffix}"))
    put(s3, dataset, "digits")
    ended = run_data(s3_source(s3, "digits/"), env=KEYS)
    assert ended.data.valid, ended.outcome
    assert ended.data.digest == run_data(PVC).data.digest


def test_console_folders_in_a_bucket_are_no_files(run_data: Run, s3: Any, dataset: Path) -> None:
    put(s3, dataset, "digits")
    (s3.folder / s3.bucket / "digits/labels/test").mkdir()
    assert run_data(s3_source(s3, "digits/"), env=KEYS).data.valid


def test_a_404(run_data: Run, site: Any) -> None:
    ended = run_data({"http": {"url": f"{site.url}/digits.zip?token=secret"}})
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "SourceMissing")
    assert "404 Not Found" in ended.outcome.message
    assert "/digits.zip" in ended.outcome.message
    assert "secret" not in ended.outcome.message + ended.log


def test_a_page_instead_of_an_archive(run_data: Run, site: Any) -> None:
    site.files["/digits.zip"] = b"<html>log in</html>"
    ended = run_data({"http": {"url": f"{site.url}/digits.zip"}})
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "NoArchive")


def test_the_digest_of_an_archive(run_data: Run, site: Any, zipped: Callable[[], bytes]) -> None:
    site.files["/digits.zip"] = zipped()
    right = f"sha256:{hashlib.sha256(site.files['/digits.zip']).hexdigest()}"
    url = f"{site.url}/digits.zip"
    assert run_data({"http": {"url": url, "digest": right}}).data.valid
    ended = run_data({"http": {"url": url, "digest": f"sha256:{'0' * 64}"}})
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "DigestMismatch")
    assert right in ended.outcome.message


def fetch(url: str, tmp_path: Path, limits: Limits | None = None) -> bytes:
    """Downloads with waits that suit a test."""
    target = tmp_path / "archive"
    here = AddressRules.parse(["127.0.0.0/8"])
    download(url, target, digest=None, limits=limits or Limits(), rules=here, first_wait=0.01)
    return target.read_bytes()


CONTENT = bytes(range(256)) * 20_000


def test_a_broken_download_goes_on_where_it_broke(site: Any, tmp_path: Path) -> None:
    site.files["/a.zip"] = CONTENT
    site.break_after = [1_000_000, 2_000_000]
    assert fetch(f"{site.url}/a.zip", tmp_path) == CONTENT
    begins = [int(wanted.strip("bytes=-")) for _, wanted in site.requests if wanted]
    assert site.requests[0][1] is None
    assert 0 < begins[0] <= 1_000_000
    assert begins[0] < begins[1] <= 3_000_000


def test_a_server_without_ranges_starts_again(site: Any, tmp_path: Path) -> None:
    site.files["/a.zip"] = CONTENT
    site.ranges = False
    site.break_after = [1_000_000]
    assert fetch(f"{site.url}/a.zip", tmp_path) == CONTENT


def test_redirects_and_passing_failures(site: Any, tmp_path: Path) -> None:
    site.files["/a.zip"] = CONTENT
    site.redirects = {"/old": "/older", "/older": f"{site.url}/a.zip?signed=1"}
    site.failures = [503, 429]
    assert fetch(f"{site.url}/old", tmp_path) == CONTENT
    site.redirects["/loop"] = "/loop"
    with pytest.raises(UserError, match="redirects more than"):
        fetch(f"{site.url}/loop", tmp_path)


def test_a_server_that_keeps_failing(site: Any, tmp_path: Path) -> None:
    site.failures = [500] * 100
    with pytest.raises(RetryableError, match=r"/a\.zip cannot be fetched after 6 tries.*500"):
        fetch(f"{site.url}/a.zip", tmp_path)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.zip", "http://no-such-host.invalid/a.zip"])
def test_an_unreachable_url(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    look_up = socket.getaddrinfo

    def without_dns(host: Any, *more: Any, **named: Any) -> Any:
        """A DNS server that cannot be reached would let each of the tries wait."""
        if host == "no-such-host.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", without_dns)
    with pytest.raises(RetryableError, match="check the URL") as caught:
        fetch(url, tmp_path)
    assert (caught.value.reason, url in caught.value.message) == ("SourceUnavailable", True)


@pytest.mark.parametrize("status", [401, 403, 410])
def test_refusals(status: int, site: Any, tmp_path: Path) -> None:
    site.failures = [status]
    with pytest.raises(UserError, match=f"the server answered {status}"):
        fetch(f"{site.url}/a.zip", tmp_path)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/latest",
        "http://[fe80::1]/x",
        "file:///etc/passwd",
    ],
)
def test_addresses_that_are_not_fetched(target: str, site: Any, tmp_path: Path) -> None:
    site.redirects["/a.zip"] = target
    with pytest.raises(UserError) as caught:
        fetch(f"{site.url}/a.zip", tmp_path)
    assert caught.value.reason == "SourceNotAllowed"


def test_a_download_that_is_too_large(site: Any, tmp_path: Path) -> None:
    site.files["/a.zip"] = CONTENT
    with pytest.raises(UserError, match=r"larger than 1\.0 MiB"):
        fetch(f"{site.url}/a.zip", tmp_path, Limits(download_bytes=1 << 20))
