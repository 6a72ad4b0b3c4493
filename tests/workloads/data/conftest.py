"""A small dataset that is right, real servers to fetch it from, and a way to run the workload."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from modelyard.contract.result import DataResult, Outcome, parse_outcome
from modelyard.contract.run import DataRun, StoreLocation
from modelyard.store import Store
from modelyard.store.opening import Credentials, Retries
from modelyard.workloads.data.handler import handle
from modelyard.workloads.data.limits import Limits
from modelyard.workloads.runner import execute
from modelyard_local.cluster.binaries import ensure

from ...prebuild import say, wanted

ACCESS_KEY, SECRET_KEY = "modelyard", "modelyard-secret"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds the S3 server if it is not built yet."""
    if wanted(session, "versitygw"):
        ensure("versitygw", say)


@dataclass
class Server:
    """A versitygw with one bucket."""

    endpoint: str
    folder: Path
    bucket: str = "data"

    def location(self, prefix: str = "store", bucket: str | None = None) -> StoreLocation:
        return StoreLocation(url=f"s3://{bucket or self.bucket}/{prefix}", endpoint=self.endpoint)

    def open(self, bucket: str | None = None, secret: str = SECRET_KEY) -> Store:
        return Store.open(
            self.location(bucket=bucket),
            credentials=Credentials(ACCESS_KEY, secret),
            retries=Retries(attempts=2, seconds=5),
        )


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real S3 server over a directory."""
    folder = tmp_path_factory.mktemp("versitygw")
    (folder / "data").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(ensure("versitygw")), "--port", f"127.0.0.1:{port}", "--quiet"]
    command += ["--access", ACCESS_KEY, "--secret", SECRET_KEY, "posix", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for_port(port, process)
            yield Server(f"http://127.0.0.1:{port}", folder)
        finally:
            process.terminate()
            process.wait(10)


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "versitygw ended"
            assert time.monotonic() < deadline, "versitygw does not listen"
            time.sleep(0.05)


@pytest.fixture
def s3(versitygw: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The S3 server with an empty bucket; its credentials are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    yield versitygw
    for entry in (versitygw.folder / versitygw.bucket).iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@dataclass
class Site:
    """An HTTP server whose answers a test chooses."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    """Statuses to answer first."""
    break_after: list[int] = field(default_factory=list)
    """Bytes after which the next answers break off."""
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of each request."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, site: Site, *arguments: Any) -> None:
        self.site = site
        super().__init__(*arguments)

    def log_message(self, *_arguments: Any) -> None:
        """Not of interest."""

    def do_GET(self) -> None:
        site, path = self.site, self.path.partition("?")[0]
        wanted = self.headers.get("range")
        site.requests.append((self.path, wanted))
        if site.failures:
            self._answer(site.failures.pop(0))
        elif path in site.redirects:
            self._answer(302, location=site.redirects[path])
        elif path not in site.files:
            self._answer(404)
        else:
            self._send(site.files[path], wanted if site.ranges else None)

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def _send(self, content: bytes, wanted: str | None) -> None:
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("content-range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("etag", f'"{hash(content)}"')
        self.send_header("content-length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if self.site.break_after:
            body = body[: self.site.break_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)


class _HttpServer(ThreadingHTTPServer):
    def handle_error(self, *_arguments: Any) -> None:
        """A client that stops reading is what some tests are about."""


@pytest.fixture
def site() -> Iterator[Site]:
    """A real HTTP server."""
    site = Site()
    server = _HttpServer(("127.0.0.1", 0), partial(_Handler, site))
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset of 6 train and 2 val images, 3 boxes in train and 2 in val, one background."""
    root = tmp_path / "dataset"
    labels = {
        "train": [
            "0 0.5 0.5 0.2 0.2\n",
            "1 0.25 0.5 0.2 0.2\n1 0.75 0.5 0.2 0.2\n",
            "",
            "",
            "",
            "",
        ],
        "val": ["0 0.5 0.5 0.5 0.5\n", "1 0.5 0.5 0.5 0.5"],
    }
    for split, texts in labels.items():
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i, text in enumerate(texts):
            shade = (40 * i, 100 if split == "train" else 200, 7)
            Image.new("RGB", (32, 24), shade).save(root / "images" / split / f"{i}.png")
            (root / "labels" / split / f"{i}.txt").write_text(text)
    (root / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"
        "download: https://example.org/never.zip\n"
    )
    return root


@pytest.fixture
def zipped(dataset: Path) -> Callable[[], bytes]:
    """Makes a zip of the dataset as it is now."""

    def make() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in sorted(dataset.rglob("*"), reverse=True):
                archive.write(path, f"digits/{path.relative_to(dataset)}")
        return buffer.getvalue()

    return make


@pytest.fixture
def tarred(dataset: Path) -> Callable[[], bytes]:
    """Makes a tar.gz of the dataset as it is now."""

    def make() -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.add(dataset, ".")
        return buffer.getvalue()

    return make


@dataclass(frozen=True)
class Ended:
    """How a workload ended."""

    code: int
    outcome: Outcome
    log: str

    @property
    def data(self) -> DataResult:
        found = self.outcome.of(DataResult)
        assert found is not None, self.outcome
        return found


@pytest.fixture
def store_location(tmp_path: Path) -> StoreLocation:
    """A directory store."""
    return StoreLocation(url=(tmp_path / "store").as_uri())


def _execute(options: Options, env: dict[str, str]) -> tuple[int, str]:
    """Runs the workload here: the same path as its module's, without starting Python."""
    output = io.StringIO()
    root = logging.getLogger()
    handlers, sigterm = root.handlers[:], signal.getsignal(signal.SIGTERM)
    try:
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
            for name, value in env.items():
                patch.setenv(name, value)
            code = execute(lambda run, context: handle(run, context, options.limits), DataRun)
    finally:
        root.handlers[:] = handlers
        signal.signal(signal.SIGTERM, sigterm)
    return code, output.getvalue()


def _start(env: dict[str, str]) -> tuple[int, str]:
    """Runs the workload as its pod does."""
    done = subprocess.run(
        [sys.executable, "-m", "modelyard.workloads.data"],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout


@dataclass(frozen=True)
class Options:
    """How to run the workload."""

    store: StoreLocation | None = None
    claim: Path | None = None
    data_file: str = "data.yaml"
    env: dict[str, str] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    limits: Limits | None = None
    module: bool = False
    """As a process of its own."""
    networks: tuple[str, ...] = ("127.0.0.0/8",)
    """Private networks that may be fetched from; the servers of these tests are on this machine."""


@pytest.fixture
def run_data(tmp_path: Path, dataset: Path, store_location: StoreLocation) -> Callable[..., Ended]:
    """Runs the workload: run spec in, exit code and termination message out. The claim is the
    dataset unless a test says otherwise."""

    def run(source: dict[str, Any], **settings: Any) -> Ended:
        options = Options(**settings)
        spec = {
            "kind": "data",
            "object": {"namespace": "default", "name": "digits", "uid": "1"},
            "store": (options.store or store_location).model_dump(by_alias=True),
            "source": source,
            "dataFile": options.data_file,
            "quality": options.quality,
            "cpuLimit": 2,
            "allowedPrivateNetworks": list(options.networks),
        }
        pod = tmp_path / "pod"
        shutil.rmtree(pod, ignore_errors=True)
        (pod / "scratch").mkdir(parents=True)
        (pod / "run.json").write_text(json.dumps(spec))
        env = options.env | {
            "MODELYARD_RUN": str(pod / "run.json"),
            "MODELYARD_TERMINATION_LOG": str(pod / "termination-log"),
            "MODELYARD_SCRATCH": str(pod / "scratch"),
            "MODELYARD_SOURCE": str(options.claim or dataset),
        }
        code, output = _start(env) if options.module else _execute(options, env)
        message = (pod / "termination-log").read_bytes()
        assert len(message) <= 4096
        outcome = parse_outcome(message.decode())
        assert outcome is not None, output
        assert "Traceback" not in output, output
        return Ended(code, outcome, output)

    return run
