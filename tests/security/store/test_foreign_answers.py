"""What a stranger's server says never shows in a status, and cannot exhaust the pod.

Real: the data workload, sockets. The server's answers are bytes of the test's choice.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelyard.contract import exitcodes
from modelyard.workloads.data import fetch_http, s3

Run = Callable[..., Any]
EVIL = "kubectl-delete-everything.example"


class Liar:
    """Answers every request with the same bytes."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self.asked.append(connection.recv(65536))
                    connection.sendall(self.answer)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(65536)
                except OSError:
                    pass

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch) -> Iterator[Liar]:
    for module in (fetch_http, s3):
        monkeypatch.setattr(module, "ATTEMPTS", 2)
        monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 0.01)
    liar = Liar()
    yield liar
    liar.close()


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def error(code: str) -> bytes:
    text = f"<Error><Code>{code}</Code><Message>{EVIL}</Message><Host>{EVIL}</Host></Error>"
    return f'<?xml version="1.0"?>{text}'.encode()


ANSWERS = {
    "phrase": answer(f"404 {EVIL}"),
    "phrase of a failure": answer(f"500 {EVIL}"),
    "body": answer("403 Forbidden", EVIL.encode()),
    "S3 error": answer("403 Forbidden", error("AccessDenied")),
    "S3 error with a code of its own": answer("400 Bad Request", error("Kubectldelete")),
    "S3 redirect": answer("307 X", error("TemporaryRedirect"), f"location: http://{EVIL}/x"),
    "redirect to another scheme": answer("302 X", b"", f"location: {EVIL}:x"),
    "redirect to no URL": answer("302 X", b"", f"location: http://[{EVIL}/"),
    "unknown status": answer(f"299 {EVIL}"),
    "no HTTP": f"{EVIL}\r\n\r\n".encode(),
    "broken header": f"HTTP/1.1 200 OK\r\n{EVIL}\r\n\r\n".encode(),
    "nothing": b"",
    "part": f"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{EVIL}".encode(),
    "no listing": answer("200 OK", f"<x>{EVIL}</x".encode()),
    "other listing": answer("200 OK", f"<x><Contents><Key>{EVIL}</Key></Contents></x>".encode()),
}


@pytest.mark.parametrize("kind", ["http", "archive", "prefix"])
@pytest.mark.parametrize("case", ANSWERS)
def test_foreign_text_is_not_repeated(run_data: Run, liar: Liar, case: str, kind: str) -> None:
    liar.answer = ANSWERS[case]
    bucket = {"bucket": "data", "endpoint": liar.url}
    source = {
        "http": {"http": {"url": f"{liar.url}/a.zip"}},
        "archive": {"s3": bucket | {"key": "a.zip"}},
        "prefix": {"s3": bucket | {"key": "a/"}},
    }[kind]
    ended = run_data(source)
    assert ended.code in (exitcodes.USER_ERROR, exitcodes.RETRYABLE)
    assert liar.asked
    assert EVIL not in ended.outcome.model_dump_json()
    assert "Kubectl" not in ended.outcome.model_dump_json()
    assert liar.url in ended.outcome.message
    assert ended.outcome.reason not in ("InternalError", "")


BOMB = '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "listing",
    [
        pytest.param(f"{BOMB}]><ListBucketResult>&i;</ListBucketResult>".encode(), id="entities"),
        pytest.param(
            f"{BOMB}]><ListBucketResult>&i;</ListBucketResult>".encode("utf-16"), id="UTF-16"
        ),
        pytest.param(
            b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
            b"<ListBucketResult><Contents><Key>&x;</Key><Size>1</Size></Contents>"
            b"</ListBucketResult>",
            id="external entity",
        ),
        pytest.param(b"<ListBucketResult>" + b" " * (17 << 20), id="endless"),
        pytest.param(b"<x>" * 100_000, id="deep"),
        pytest.param(
            b"<ListBucketResult><Contents><Key>other/b</Key><Size>1</Size></Contents>"
            b"</ListBucketResult>",
            id="another prefix",
        ),
        pytest.param(
            b"<ListBucketResult><Contents><Key>a/b</Key><Size>" + b"9" * 5000 + b"</Size>"
            b"</Contents></ListBucketResult>",
            id="huge size",
        ),
        pytest.param(
            b"<ListBucketResult><Contents><Key>a/b</Key><Size>-1</Size></Contents>"
            b"</ListBucketResult>",
            id="negative size",
        ),
    ],
)
def test_a_listing_that_is_none(run_data: Run, liar: Liar, listing: bytes) -> None:
    liar.answer = answer("200 OK", listing)
    ended = run_data({"s3": {"bucket": "data", "key": "a/", "endpoint": liar.url}})
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "InvalidSource")
    assert "not one of S3" in ended.outcome.message


def test_a_listing_that_never_ends(run_data: Run, liar: Liar) -> None:
    liar.answer = answer(
        "200 OK",
        b"<ListBucketResult><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>again</NextContinuationToken></ListBucketResult>",
    )
    ended = run_data({"s3": {"bucket": "data", "key": "a/", "endpoint": liar.url}})
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "InvalidSource")


@pytest.mark.parametrize("key", ["a/../../../x", "a/..", "a/b/../../../x", "a//../../etc/passwd"])
def test_keys_that_lead_outside(run_data: Run, liar: Liar, key: str) -> None:
    """A server may list what it likes: no object is written outside of the folder."""
    listed = f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"
    liar.answer = answer("200 OK", f"<ListBucketResult>{listed}</ListBucketResult>".encode())
    ended = run_data({"s3": {"bucket": "data", "key": "a/", "endpoint": liar.url}})
    assert ended.data.problems
    assert "leads outside the prefix" in ended.data.problems[0]
