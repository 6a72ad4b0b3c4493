"""The store's credentials go to the namespace's own part of the store, and nowhere else.

Real: the data workload as its pod runs it, versitygw, the attacker's server.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from modelyard.contract import exitcodes
from modelyard.contract.run import ExportRun, StoreLocation
from modelyard.workloads import weights
from modelyard.workloads.errors import RetryableError, UserError

Run = Callable[..., Any]
THEIRS = "team-b/blobs/sha256/theirs"


class Relay:
    """The attacker's server: keeps what it was sent, and passes it on to the store as it is."""

    def __init__(self, store: str) -> None:
        self.store = store.removeprefix("http://")
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.relayed: list[tuple[int, bytes]] = []
        self.url = ""

    def secrets(self) -> list[str]:
        """Anything in the requests that was made with a key."""
        return [
            f"{name}: {value}"
            for _, headers in self.requests
            for name, value in headers.items()
            if name in ("authorization", "x-amz-security-token")
        ] + [path for path, _ in self.requests if "X-Amz-Signature" in path]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, relay: Relay, *arguments: Any) -> None:
        self.relay = relay
        super().__init__(*arguments)

    def log_message(self, *_arguments: Any) -> None:
        """Not of interest."""

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.relay.requests.append((self.path, headers))
        connection = http.client.HTTPConnection(self.relay.store)
        connection.putrequest("GET", f"/data/{THEIRS}", skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        self.relay.relayed.append((answer.status, answer.read()))
        self.send_response(403)
        self.send_header("content-length", "0")
        self.end_headers()


@pytest.fixture
def relay(s3: Any) -> Iterator[Relay]:
    """A server that nobody trusts, before the store with another team's blob."""
    path = s3.folder / s3.bucket / THEIRS
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another team's weights")
    relay = Relay(s3.endpoint)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, relay))
    relay.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield relay
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("key", [THEIRS, "team-b/blobs/"])
def test_a_strangers_endpoint_gets_no_signature(
    run_data: Run, s3: Any, relay: Relay, key: str
) -> None:
    """The pod holds a key that could read all: in the environment, as every pod holds its own."""
    source = {"s3": {"bucket": s3.bucket, "key": key, "endpoint": relay.url}}
    ended = run_data(source, store=s3.location("team-a"))
    assert (ended.code, ended.outcome.reason) == (exitcodes.USER_ERROR, "SourceAccessDenied")
    assert relay.requests
    assert relay.secrets() == []
    assert all(status == 403 for status, _ in relay.relayed)
    assert not any(b"another team's weights" in body for _, body in relay.relayed)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param({"bucket": "data", "key": THEIRS}, id="its bucket at Amazon"),
        pytest.param({"bucket": "data", "key": THEIRS, "endpoint": "here"}, id="its endpoint"),
        pytest.param({"key": f"../{THEIRS}"}, id="dots"),
        pytest.param({"bucket": "data", "key": f"team-a/../{THEIRS}"}, id="dots in its bucket"),
        pytest.param({"key": f"x/../../{THEIRS}"}, id="dots inside"),
        pytest.param({"bucket": "data", "key": "team-a/"}, id="the whole part"),
    ],
)
def test_a_key_for_all_is_used_for_the_own_part_only(
    run_data: Run, s3: Any, relay: Relay, source: dict[str, Any], monkeypatch: Any
) -> None:
    """The single-key mode: the store would let this key read everything."""
    from modelyard.workloads.data import s3 as foreign

    # Amazon's place is taken by the store's server: nothing here can reach Amazon.
    real = foreign.Endpoint.of

    def of(bucket: str, endpoint: str | None, region: str) -> foreign.Endpoint:
        return real(bucket, endpoint or s3.endpoint, region)

    monkeypatch.setattr(foreign.Endpoint, "of", of)
    if source.get("endpoint") == "here":
        source = source | {"endpoint": s3.endpoint}
    ended = run_data({"s3": source}, store=s3.location("team-a"))
    assert ended.code == exitcodes.USER_ERROR
    assert ended.outcome.reason in ("SourceAccessDenied", "InvalidSource")
    assert "another team's weights" not in ended.log
    assert not (Path(s3.folder) / s3.bucket / "team-a").exists()


def export(store: StoreLocation, *networks: str) -> ExportRun:
    return ExportRun.model_validate(
        {
            "object": {"namespace": "team-a", "name": "shelf-1", "uid": "1"},
            "store": store,
            "allowedPrivateNetworks": list(networks),
            "weights": {"digest": f"sha256:{'0' * 64}"},
            "export": {"name": "onnx", "format": "onnx"},
        }
    )


def test_weights_of_another_part_are_not_fetched_with_the_own_key(
    s3: Any, relay: Relay, tmp_path: Path, monkeypatch: Any
) -> None:
    from modelyard.workloads.data import s3 as foreign

    place = foreign.Endpoint("http", relay.url.removeprefix("http://"), "/data", "us-east-1")
    monkeypatch.setattr(foreign.Endpoint, "of", lambda *_arguments: place)
    run = export(s3.location("team-a"), "127.0.0.0/8")
    with pytest.raises(UserError) as caught:
        weights.download(f"s3://{s3.bucket}/{THEIRS}", tmp_path / "w.pt", run)
    assert relay.requests
    assert relay.secrets() == []
    assert "correct spec.weights.uri" in caught.value.message
    own = s3.folder / s3.bucket / "team-a/uploads/camera #3 100%/best.pt"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"own weights")
    uri = f"s3://{s3.bucket}/team-a/uploads/camera #3 100%/best.pt"
    weights.download(uri, tmp_path / "w.pt", run)
    assert (tmp_path / "w.pt").read_bytes() == b"own weights"


def test_weights_are_guarded_like_datasets(s3: Any, relay: Relay, tmp_path: Path) -> None:
    run = export(s3.location("team-a"))
    for uri in (f"{relay.url}/best.pt", "http://169.254.169.254/latest/meta-data/"):
        with pytest.raises((UserError, RetryableError), match="leads to") as caught:
            weights.download(uri, tmp_path / "w.pt", run)
        assert isinstance(caught.value, UserError)
    assert relay.requests == []
