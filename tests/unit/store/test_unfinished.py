"""What servers may answer to a list of uploads, and where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from modelyard.contract.run import StoreLocation
from modelyard.store import AccessDenied, StoreError, StoreUnavailable
from modelyard.store.opening import Credentials
from modelyard.store.unfinished import Upload, Uploads, open_uploads

KEY = Credentials("key", "secret")
ONE = "<Upload><Key>part/k</Key><UploadId>u</UploadId><Initiated>2026-11-01T00:00:00Z</Initiated>"


def listing(*uploads: str, more: str = "false") -> bytes:
    inner = "".join(f"{one}</Upload>" for one in uploads)
    return (
        f"<ListMultipartUploadsResult><IsTruncated>{more}</IsTruncated>{inner}"
        "<NextKeyMarker>m</NextKeyMarker></ListMultipartUploadsResult>"
    ).encode()


Answers = list[tuple[int, bytes]]
Serve = Callable[[Answers], Uploads]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A server that gives these answers, the last one for ever; no time passes between them."""
    monkeypatch.setattr("modelyard.store.unfinished.FIRST_WAIT_SECONDS", 0.0)
    left: Answers = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            """Not of interest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def make(answers: Answers) -> Uploads:
        left[:] = answers
        endpoint = f"http://127.0.0.1:{server.server_port}"
        return open_uploads(StoreLocation(url="s3://models/part", endpoint=endpoint), KEY)

    yield make
    server.shutdown()
    thread.join()
    server.server_close()


def test_keys_are_relative_to_the_part(serve: Serve) -> None:
    (found,) = serve([(200, listing(ONE))]).begun()
    assert (found.key, found.id, found.began.isoformat()) == ("k", "u", "2026-11-01T00:00:00+00:00")


def test_a_server_that_is_overloaded_is_asked_again(serve: Serve) -> None:
    answers = [(503, b"<Code>SlowDown</Code>"), (500, b""), (200, listing(ONE))]
    assert len(list(serve(answers).begun())) == 1


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        pytest.param(503, b"<Code>SlowDown</Code>", StoreUnavailable, id="overloaded for long"),
        pytest.param(403, b"<Code>AccessDenied</Code>", AccessDenied, id="no right"),
        pytest.param(404, b"<Code>XAdminUserNotFound</Code>", AccessDenied, id="unknown key"),
        pytest.param(404, b"<Code>NoSuchBucket</Code>", StoreUnavailable, id="no bucket"),
        pytest.param(200, b"<html>sign in</html>", StoreError, id="a proxy's page"),
        pytest.param(200, b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + listing(), StoreError, id="entities"),
        pytest.param(200, listing(ONE.replace("part/", "other/")), StoreError, id="others' part"),
        pytest.param(200, listing(ONE.replace("2026-", "")), StoreError, id="no time"),
        pytest.param(200, listing(ONE.replace("Z", "")), StoreError, id="no time zone"),
        pytest.param(200, listing(ONE, more="true"), StoreError, id="no end"),
    ],
)
def test_what_is_no_list_is_an_error(
    serve: Serve, status: int, body: bytes, error: type[StoreError]
) -> None:
    with pytest.raises(error) as caught:
        list(serve([(status, body)]).begun())
    assert type(caught.value) is error
    assert "sign in" not in str(caught.value)


def test_an_upload_that_has_ended_is_aborted_already(serve: Serve) -> None:
    uploads = serve([(200, listing(ONE)), (404, b"<Error><Code>NoSuchUpload</Code></Error>")])
    (one,) = uploads.begun()
    uploads.abort(one)


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ({"url": "gs://models"}, "after a week"),
        ({"url": "az://models"}, "after a week"),
        ({"url": "s3://models"}, "lifecycle rule"),
        ({"url": "s3://models", "endpoint": "http://minio/behind/a/path"}, "host and port"),
    ],
)
def test_where_they_cannot_be_listed_it_says_why(
    location: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    key = KEY if "endpoint" in location else None
    uploads = open_uploads(StoreLocation.model_validate(location), key)
    assert says in uploads.unknown
    assert list(uploads.begun()) == []


def test_an_uploads_id_and_the_key_are_not_logged(serve: Serve) -> None:
    uploads = serve([(200, listing(ONE))])
    (one,) = uploads.begun()
    assert "secret" not in repr(uploads)
    assert "'u'" not in repr(one)
    assert isinstance(one, Upload)
