"""Reports into an object's status: what the API server receives."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelyard.workloads.report import InCluster, ReportError, StatusReporter, Target

TARGET = Target("trainingjobs", "vision", "digits", uid="u-1")


class Recorder:
    """A writer that fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.received: list[tuple[float, Mapping[str, Any]]] = []

    def merge_status(self, target: Target, status: Mapping[str, Any]) -> None:
        if self.failures:
            self.failures -= 1
            raise ReportError("away")
        self.received.append((time.monotonic(), status))


def until(done: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_many_reports_become_few_and_the_latest_arrives() -> None:
    writer = Recorder()
    with StatusReporter(TARGET, writer, interval=0.2) as reporter:
        start = time.monotonic()
        while time.monotonic() - start < 0.5:
            reporter.report({"n": time.monotonic()})
        reporter.report({"n": "last"})
    times = [at for at, _ in writer.received]
    assert writer.received[-1][1] == {"n": "last"}
    assert len(times) <= 5
    assert all(b - a >= 0.19 for a, b in itertools.pairwise(times[:-1]))


def test_a_report_that_was_refused_is_sent_again() -> None:
    writer = Recorder(failures=2)
    with StatusReporter(TARGET, writer, interval=0.01) as reporter:
        reporter.report({"n": 1})
        until(lambda: bool(writer.received))
    assert [status for _, status in writer.received] == [{"n": 1}]


def test_a_dead_api_server_holds_nobody_up() -> None:
    start = time.monotonic()
    with StatusReporter(TARGET, Recorder(failures=10**6), interval=0.01) as reporter:
        for n in range(100):
            reporter.report({"n": n})
    assert time.monotonic() - start < 5


def test_outside_a_cluster_reports_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("INFO", logger="modelyard.report"),
        StatusReporter(TARGET, None) as reporter,
    ):
        reporter.report({"progress": {"epoch": 3}})
    assert '{"progress": {"epoch": 3}}' in caplog.text


class ApiServer:
    """An HTTPS server that answers as it is told and keeps what it was sent."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.answer: tuple[int, bytes] = (200, b"{}")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PATCH(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(outer.answer[0])
                self.end_headers()
                self.wfile.write(outer.answer[1])

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate(folder))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @staticmethod
    def _certificate(folder: Path) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        now = datetime.datetime.now(datetime.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        text = certificate.public_bytes(serialization.Encoding.PEM)
        (folder / "ca.crt").write_bytes(text)
        both = folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        both.write_bytes(text + private)
        return both


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    found = ApiServer(tmp_path)
    yield found
    found.server.shutdown()


@pytest.fixture
def writer(server: ApiServer, tmp_path: Path) -> InCluster:
    (tmp_path / "token").write_text("first\n")
    return InCluster("127.0.0.1", server.port, account=tmp_path, field_manager="tester")


def test_the_api_server_gets_a_merge_patch_of_the_status_alone(
    server: ApiServer, writer: InCluster
) -> None:
    writer.merge_status(TARGET, {"progress": {"epoch": 1, "metrics": None}})
    ((path, headers, body),) = server.requests
    assert path == (
        "/apis/modelyard.dev/v1alpha1/namespaces/vision/trainingjobs/digits/status"
        "?fieldManager=tester"
    )
    assert headers["Content-Type"] == "application/merge-patch+json"
    assert headers["Authorization"] == "Bearer first"
    assert body == {
        "metadata": {"uid": "u-1"},
        "status": {"progress": {"epoch": 1, "metrics": None}},
    }


def test_a_token_that_was_rotated_is_used(
    server: ApiServer, writer: InCluster, tmp_path: Path
) -> None:
    writer.merge_status(TARGET, {})
    (tmp_path / "token").write_text("second")
    writer.merge_status(TARGET, {})
    tokens = [headers["Authorization"] for _, headers, _ in server.requests]
    assert tokens == ["Bearer first", "Bearer second"]


def test_a_refusal_is_reported_with_the_servers_words(server: ApiServer, writer: InCluster) -> None:
    server.answer = (403, b'{"message": "trainingjobs is forbidden"}')
    with pytest.raises(ReportError, match="403 trainingjobs is forbidden"):
        writer.merge_status(TARGET, {})


def test_another_certificate_authority_is_not_trusted(
    server: ApiServer, writer: InCluster, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    ApiServer._certificate(other)
    (tmp_path / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    with pytest.raises(ReportError, match="cannot be reached"):
        writer.merge_status(TARGET, {})
    assert not server.requests


def test_a_pod_without_a_token_has_no_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert InCluster.from_environment() is None
