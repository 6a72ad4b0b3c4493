"""Servers sleep while nobody asks and wake with the first request, with a real scale subresource;
the servers themselves are played."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from modelyard.cluster import ControlPlane
from modelyard.workloads.activator import http2
from modelyard.workloads.activator.__main__ import arguments, run

from ..admin import Admin, access
from ..gateway.servers import METHOD, Pod
from ..process import free_port
from ..waiting import until

pytestmark = pytest.mark.cluster
CRDS = Path(__file__).parents[3] / "crds"
SPACE = "sleepy"
OURS = f"/apis/modelyard.dev/v1alpha1/namespaces/{SPACE}/deployments"
ROLE = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNT = "modelyard-activator"
LEAVE = 1.0
"""Seconds for which a server that goes still takes requests, if it is the last."""


class Site:
    """A Deployment, an activator in front of it, and a server that comes and goes with its
    replicas."""

    def __init__(self, admin: Admin, url: str, credentials: Path, name: str, **limits: Any) -> None:
        self.admin, self.name = admin, name
        body = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"modelLine": "shelf"},
        }
        admin.call("POST", OURS, body)
        self.front = {"http": free_port(), "grpc": free_port()}
        self.back = {"http": free_port(), "grpc": free_port()}
        self.start_seconds = 1.0
        self._stop, self._end = threading.Event(), threading.Event()
        self._options = arguments(
            [
                f"--deployment={name}",
                f"--namespace={SPACE}",
                "--host=127.0.0.1",
                f"--after={limits.get('after', 1.5)}",
                f"--wait={limits.get('wait', 20)}",
                f"--leave={LEAVE + 0.5}",
                f"--ready=http://127.0.0.1:{self.back['http']}/v2/health/ready",
                f"--api={url}",
                f"--credentials={credentials}",
                *(
                    f"--port={self.front[side]}=127.0.0.1:{self.back[side]}"
                    for side in ("http", "grpc")
                ),
            ]
        )
        self.starts = 0
        self.awake = False
        self.dozed = threading.Event()
        """Set when replicas go to 0, long before the server is gone."""
        self._threads = [
            threading.Thread(target=self._activate, daemon=True),
            threading.Thread(target=self._play, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop_activator(self) -> None:
        """As SIGTERM does; the servers go on."""
        self._end.set()

    def stop(self) -> None:
        self._end.set()
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _activate(self) -> None:
        async def whole() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(run(self._options, stop))
            await asyncio.to_thread(self._end.wait)
            stop.set()
            await running

        asyncio.run(whole())

    def _play(self) -> None:
        """What the operator and a kubelet would do: a server some time after it is asked for."""
        server: Pod | None = None
        asked: float | None = None
        while not self._stop.is_set():
            time.sleep(0.05)
            if self.replicas() == 0:
                asked = None
                if server is not None:
                    self.dozed.set()
                    time.sleep(LEAVE)  # Its preStop hook, see disruption.py.
                    server.ending = True
                    time.sleep(0.5)
                    server.drain()
                    server = None
            elif server is None:
                asked = asked or time.monotonic()
                if time.monotonic() - asked >= self.start_seconds:
                    server = Pod(self.name, "1", ports=self.back)
                    self.starts += 1
            self.awake = server is not None
        if server is not None:
            server.stop()

    def sleeps(self) -> None:
        """Wait until there is no server any more."""
        until(lambda: self.starts and not self.awake, 30, "the servers to sleep")

    def replicas(self) -> int:
        found = self.admin.get(f"{OURS}/{self.name}")
        return int(found["spec"]["target"]["cluster"]["replicas"])

    def ask(self, client: httpx.Client | None = None) -> str:
        url = f"http://127.0.0.1:{self.front['http']}/v2/models/shelf/infer"
        if client is not None:
            return str(client.post(url, content=b"{}").json()["model_version"])
        with httpx.Client(trust_env=False, timeout=30) as one:
            return str(one.post(url, content=b"{}").json()["model_version"])

    def ask_grpc(self) -> str:
        with grpc.insecure_channel(f"127.0.0.1:{self.front['grpc']}") as channel:
            answer: bytes = channel.unary_unary(METHOD)(b"", timeout=30)
            return answer.decode()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Admin, str, Path]]:
    """The API server, and a pod's credentials: all that they allow is scaling."""
    folder = tmp_path_factory.mktemp("activator")
    with ControlPlane(folder / "plane", controller_manager=True) as made:
        where = access(made.kubeconfig, folder)
        admin = Admin(where)
        admin.install(CRDS)
        until(lambda: admin.get("/apis/modelyard.dev/v1alpha1/deployments") is not None)
        admin.namespace(SPACE)
        accounts = f"/api/v1/namespaces/{SPACE}/serviceaccounts"
        admin.call("POST", accounts, {"metadata": {"name": ACCOUNT}})
        rule = {
            "apiGroups": ["modelyard.dev"],
            "resources": ["deployments/scale"],
            "verbs": ["get", "patch"],
        }
        roles = f"{ROLE}/namespaces/{SPACE}"
        admin.call("POST", f"{roles}/roles", {"metadata": {"name": ACCOUNT}, "rules": [rule]})
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SPACE}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT}
        binding = {"metadata": {"name": ACCOUNT}, "roleRef": ref, "subjects": [subject]}
        admin.call("POST", f"{roles}/rolebindings", binding)
        token = admin.call("POST", f"{accounts}/{ACCOUNT}/token", {"spec": {}})["status"]["token"]
        credentials = folder / "credentials"
        credentials.mkdir()
        (credentials / "token").write_text(token)
        (credentials / "ca.crt").write_bytes((folder / "ca").read_bytes())
        yield admin, where.url, credentials


@pytest.fixture
def site(plane: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    made: list[Site] = []

    def start(name: str, **limits: Any) -> Site:
        made.append(Site(*plane, name, **limits))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def test_servers_sleep_and_wake_and_no_request_is_lost(site: Any) -> None:
    one = site("cycles")
    for _ in range(2):
        one.sleeps()
        with ThreadPoolExecutor(8) as pool:
            asks = [pool.submit(ask) for ask in (one.ask, one.ask_grpc) for _ in range(4)]
            assert {ask.result(40) for ask in asks} == {"1"}
        assert one.replicas() == 1
    assert one.starts == 3


def test_requests_at_the_moment_of_falling_asleep_are_answered(site: Any) -> None:
    """The pauses lie around `after`: some requests come just before, some just after."""
    one = site("edge", after=1)
    with httpx.Client(trust_env=False, timeout=30) as client:
        for number in range(12):
            assert one.ask(client if number % 3 == 0 else None) == "1"
            assert one.ask_grpc() == "1"
            time.sleep(0.9 + 0.05 * number)
    assert one.starts > 1


def test_requests_after_falling_asleep_wait_for_a_new_server(site: Any) -> None:
    """The old one still takes requests for a while, and then refuses them."""
    one = site("fallen")
    until(one.dozed.wait, 30, "the servers to be sent to sleep")

    def loop(ask: Any) -> set[str]:
        end, answers = time.monotonic() + 4, set()
        while time.monotonic() < end:
            answers.add(ask())
        return answers

    with httpx.Client(trust_env=False, timeout=30) as client, ThreadPoolExecutor(3) as pool:
        asks = [one.ask, one.ask_grpc, partial(one.ask, client)]
        for answers in [pool.submit(loop, ask) for ask in asks]:
            assert answers.result(60) == {"1"}
    assert one.starts == 2


def test_a_request_that_waits_outlives_the_end_of_its_activator(site: Any) -> None:
    one = site("ended")
    one.sleeps()
    one.start_seconds = 3
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(one.ask)
        until(lambda: one.replicas() == 1, 20, "a server to be asked for")
        one.stop_activator()
        assert answer.result(40) == "1"


def test_a_grpc_client_that_waits_hears_at_once_that_somebody_is_there(site: Any) -> None:
    """It would give up after 20 s."""
    one = site("patient")
    one.sleeps()
    one.start_seconds = 600
    with socket.create_connection(("127.0.0.1", one.front["grpc"]), timeout=10) as client:
        client.sendall(http2.PREFACE + http2.SETTINGS)
        assert client.recv(64) == http2.SETTINGS


def test_servers_stay_awake_while_somebody_asks(site: Any) -> None:
    one = site("busy")
    end = time.monotonic() + 5
    with httpx.Client(trust_env=False, timeout=30) as client:
        while time.monotonic() < end:
            assert one.ask(client) == "1"
            time.sleep(0.5)
    assert one.starts == 1


def test_a_connection_that_says_nothing_wakes_nobody(site: Any) -> None:
    one = site("silent")
    one.sleeps()

    async def look() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", one.front["http"])
        await asyncio.sleep(1)
        writer.close()

    asyncio.run(look())
    assert one.replicas() == 0


def test_a_request_waits_only_so_long(site: Any) -> None:
    one = site("slow", wait=1)
    one.sleeps()
    one.start_seconds = 600
    with pytest.raises(httpx.HTTPError):
        one.ask()
    assert one.replicas() == 1, "it was asked for nevertheless"


def test_a_client_with_an_old_connection_is_answered_after_the_sleep(site: Any) -> None:
    one = site("old")
    with httpx.Client(trust_env=False, timeout=30) as client:
        assert one.ask(client) == "1"
        one.sleeps()
        assert one.ask(client) == "1"


def test_the_token_allows_nothing_else(plane: Any, site: Any) -> None:
    _, url, credentials = plane
    site("alone")
    token = (credentials / "token").read_text()
    with httpx.Client(
        base_url=url, verify=str(credentials / "ca.crt"), trust_env=False,
        headers={"Authorization": f"Bearer {token}"},
    ) as pod:  # fmt: skip
        assert pod.get(f"{OURS}/alone").status_code == 403
        patch = json.dumps({"spec": {"modelLine": "other"}})
        merge = {"Content-Type": "application/merge-patch+json"}
        answer = pod.patch(f"{OURS}/alone", content=patch, headers=merge)
        assert answer.status_code == 403
