"""The embedded store as the chart runs it: its accounts, its init container, a real versitygw."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from obstore.store import S3Store

from modelyard import embeddedstore
from modelyard.contract.run import StoreLocation
from modelyard.store import Store
from modelyard.store.opening import Credentials, Retries
from modelyard_local.cluster.binaries import ensure

from ...cluster.conftest import cluster
from ...prebuild import say, wanted
from ...unit.chart.conftest import Rendered, helm, render
from ...workloads.data.conftest import (
    dataset,
    run_data,
    s3,
    site,
    store_location,
    tarred,
    versitygw,
    zipped,
)

__all__ = [
    "cluster",
    "dataset",
    "helm",
    "render",
    "run_data",
    "s3",
    "site",
    "store_location",
    "tarred",
    "versitygw",
    "zipped",
]

SYSTEM = "modelyard-system"
VOLUMES = ("/data", "/users", "/accounts")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds what is not built yet."""
    if wanted(session, "embedded", "s3"):
        ensure("versitygw", say)
        ensure("helm", say)


@dataclass
class Embedded:
    """The store of a rendered chart, in a folder instead of a pod."""

    rendered: Rendered
    folder: Path
    endpoint: str = ""
    process: subprocess.Popen[bytes] | None = None
    said: list[str] = field(default_factory=list)

    def key(self, namespace: str, name: str) -> Credentials:
        """The key in a Secret of the chart: root (""), writer, reader or collector."""
        wanted = f"modelyard-store-{name}".rstrip("-")
        data = next(
            one["data"]
            for one in self.rendered.of("Secret")
            if (one["metadata"]["namespace"], one["metadata"]["name"]) == (namespace, wanted)
        )
        access, secret = (
            base64.b64decode(data[key]).decode()
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        )
        return Credentials(access, secret)

    def bucket(self, namespace: str, key: Credentials | None) -> S3Store:
        """A plain S3 client for a namespace's bucket; without a key it asks anonymously."""
        config: dict[str, Any] = {"skip_signature": True}
        if key is not None:
            config = {
                "access_key_id": key.access_key_id,
                "secret_access_key": key.secret_access_key,
            }
        return S3Store(
            f"modelyard-{namespace}",
            endpoint=self.endpoint,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
            **config,
        )

    def location(self, namespace: str) -> StoreLocation:
        """What the operator writes into run specs of a namespace."""
        url = self.rendered.operator_env()["MODELYARD_STORE__URL"]
        return StoreLocation(url=url, endpoint=self.endpoint).within(namespace)

    def store(self, namespace: str, key: Credentials) -> Store:
        """A namespace's part, as workloads open it."""
        retries = Retries(attempts=0, seconds=1)
        return Store.open(self.location(namespace), credentials=key, retries=retries)

    def start(self) -> None:
        """What the pod does: the init container, then versitygw."""
        pod = self.rendered.one("StatefulSet", "modelyard-store")["spec"]["template"]["spec"]
        (self.folder / "accounts").mkdir(parents=True, exist_ok=True)
        for name, value in self.rendered.one("Secret", "modelyard-store")["data"].items():
            (self.folder / "accounts" / name).write_bytes(base64.b64decode(value))
        [accounts] = pod["initContainers"]
        assert accounts["command"][:3] == ["python", "-m", "modelyard.embeddedstore"]
        embeddedstore.main([self._here(one) for one in accounts["command"][3:]])
        [container] = pod["containers"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        arguments = [
            f"--port=127.0.0.1:{port}" if one.startswith("--port") else self._here(one)
            for one in container["args"]
        ]
        root = self.key(SYSTEM, "")
        self.endpoint = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [str(ensure("versitygw")), "--quiet", *arguments],
            env={"ROOT_ACCESS_KEY": root.access_key_id, "ROOT_SECRET_KEY": root.secret_access_key},
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, "versitygw ended"
                assert time.monotonic() < deadline, "versitygw does not listen"
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends it; the volume stays, what was in memory is lost."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None
        for file in (self.folder / "users").glob("*"):
            file.unlink()

    def _here(self, argument: str) -> str:
        """A pod's path, as an argument or an option's value, below our folder."""
        option, _, path = argument.rpartition("=")
        if not path.startswith(VOLUMES):
            return argument
        return f"{option}={self.folder}{path}" if option else f"{self.folder}{path}"


@pytest.fixture(scope="session")
def start(
    render: Callable[..., Rendered], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Starts the store of the chart with some values, in a folder of its own or a given one."""

    @contextmanager
    def run(values: dict[str, Any], folder: Path | None = None) -> Iterator[Embedded]:
        embedded = Embedded(render(values), folder or tmp_path_factory.mktemp("embedded"))
        embedded.start()
        try:
            yield embedded
        finally:
            embedded.stop()

    return run


def values(*namespaces: str, **store: Any) -> dict[str, Any]:
    """Values of a chart whose keys do not change from rendering to rendering."""
    given = {"accessKeyId": "root-of-this-test", "secretAccessKey": "s" * 40}
    return {"workloads": {"namespaces": list(namespaces)}, "store": given | store}


@pytest.fixture(scope="session", params=["xattr", "sidecar"])
def embedded(request: Any, start: Callable[..., Any]) -> Iterator[Embedded]:
    """The store of two namespaces, a and b."""
    persistence = {"persistence": {"metadata": request.param}}
    with start(values("a", "b", embedded=persistence)) as running:
        yield running


def accounts_of(folder: Path) -> list[dict[str, Any]]:
    """The mounted list of accounts."""
    listed: list[dict[str, Any]] = json.loads((folder / "accounts/accounts.json").read_text())
    return listed
