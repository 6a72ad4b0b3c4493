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

from modelyard.workloads.activator import http2
from modelyard.workloads.activator.__main__ import arguments, run

from ..admin import Admin
from ..gateway.servers import METHOD, Pod
from ..process import free_port
from ..waiting import until
from .conftest import Plane

pytestmark = pytest.mark.cluster
SPACE = "sleepy"
OURS = f"/apis/modelyard.dev/v1alpha1/namespaces/{SPACE}/deployments"
ROLE = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNT = "modelyard-activator"
LEAVE = 1.0
"""Seconds for which a server that goes still takes requests, if it is the last."""
END = 2.0
"""Most seconds that its end takes then: it refuses requests meanwhile."""


SCALES, REPORTS = (
    {"apiGroups": ["modelyard.dev"], "resources": [f"deployments/{part}"], "verbs": verbs}
    for part, verbs in (("scale", ["get", "patch"]), ("status", ["patch"]))
)


class Site:
    """A Deployment, an activator in front of it, and a server that comes and goes with its
    replicas."""

    def __init__(self, admin: Admin, url: str, credentials: Path, name: str, **limits: Any) -> None:
        self.admin, self.name = admin, name
        self._url, self._credentials, self._limits = url, credentials, limits
        body = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"modelLine": "shelf"},
        }
        admin.call("POST", OURS, body)
        self.back = {"http": free_port(), "grpc": free_port()}
        self.start_seconds = 1.0
        self.starts = 0
        self.awake = False
        self.dozed = threading.Event()
        """Set when replicas go to 0, long before the server is gone."""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._activators: list[threading.Event] = []
        """By their order; setting one ends its activator."""
        self._begin(self._play)
        until(lambda: self.awake, 30, "the first server")
        self.activate()

    def activate(self) -> None:
        """Start an activator, at ports of its own; requests go there from now on."""
        self.front = {"http": free_port(), "grpc": free_port()}
        options = arguments(
            [
                f"--deployment={self.name}",
                f"--namespace={SPACE}",
                "--host=127.0.0.1",
                f"--after={self._limits.get('after', 1.5)}",
                f"--wait={self._limits.get('wait', 20)}",
                f"--leave={LEAVE + END}",
                f"--ready=http://127.0.0.1:{self.back['http']}/v2/health/ready",
                f"--api={self._url}",
                f"--credentials={self._credentials}",
                *(
                    f"--port={self.front[side]}=127.0.0.1:{self.back[side]}"
                    for side in ("http", "grpc")
                ),
            ]
        )
        self._activators.append(threading.Event())
        self._begin(self._activate, options, self._activators[-1])
        for port in self.front.values():
            until(lambda port=port: _accepts(port), 30, "the activator to listen")

    def _begin(self, work: Any, *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def stop_activator(self) -> None:
        """As SIGTERM does; the servers go on."""
        self._activators[-1].set()

    def stop(self) -> None:
        for end in (*self._activators, self._stop):
            end.set()
        for thread in self._threads:
            thread.join(30)

    def _activate(self, options: Any, end: threading.Event) -> None:
        async def whole() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(run(options, stop))
            await asyncio.to_thread(end.wait)
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
                    self.awake = False
            elif server is None:
                asked = asked or time.monotonic()
                if time.monotonic() - asked >= self.start_seconds:
                    # Counted before it can answer: whoever has an answer looks at these.
                    self.awake = True
                    self.starts += 1
                    server = Pod(self.name, "1", ports=self.back)
        if server is not None:
            server.stop()

    def sleeps(self) -> None:
        """Wait until there is no server any more."""
        until(lambda: not self.awake, 30, "the servers to sleep")

    def replicas(self) -> int:
        found = self.admin.get(f"{OURS}/{self.name}")
        return int(found["spec"]["target"]["cluster"]["replicas"])

    def ask(self, client: httpx.Client | None = None) -> str:
        if client is None:
            with httpx.Client(trust_env=False, timeout=30) as one:
                return self._ask(one)
        try:
            return self._ask(client)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # It may have asked in the instant in which its idle connection was closed.
            return self._ask(client)

    def _ask(self, client: httpx.Client) -> str:
        url = f"http://127.0.0.1:{self.front['http']}/v2/models/shelf/infer"
        answer = client.post(url, content=b"{}").raise_for_status()
        return str(answer.json()["model_version"])

    def ask_grpc(self) -> str:
        with grpc.insecure_channel(f"127.0.0.1:{self.front['grpc']}") as channel:
            answer: bytes = channel.unary_unary(METHOD)(b"", timeout=30)
            return answer.decode()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def plane(scaled: Plane, tmp_path_factory: pytest.TempPathFactory) -> tuple[Admin, str, Path]:
    """The API server, and a pod's credentials: they allow what the chart's Role does."""
    admin = scaled.admin
    admin.namespace(SPACE)
    accounts = f"/api/v1/namespaces/{SPACE}/serviceaccounts"
    admin.call("POST", accounts, {"metadata": {"name": ACCOUNT}})
    roles = f"{ROLE}/namespaces/{SPACE}"
    role = {"metadata": {"name": ACCOUNT}, "rules": [SCALES, REPORTS]}
    admin.call("POST", f"{roles}/roles", role)
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SPACE}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT}
    binding = {"metadata": {"name": ACCOUNT}, "roleRef": ref, "subjects": [subject]}
    admin.call("POST", f"{roles}/rolebindings", binding)
    token = admin.call("POST", f"{accounts}/{ACCOUNT}/token", {"spec": {}})["status"]["token"]
    credentials = tmp_path_factory.mktemp("credentials")
    (credentials / "token").write_text(token)
    (credentials / "ca.crt").write_bytes(scaled.ca)
    return admin, scaled.access.url, credentials


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


def test_a_refusal_to_scale_is_in_the_status_until_it_is_over(plane: Any, site: Any) -> None:
    admin = plane[0]
    role = f"{ROLE}/namespaces/{SPACE}/roles/{ACCOUNT}"
    admin.merge(role, {"rules": [REPORTS]})
    try:
        one = site("refused")

        def told() -> str:
            status = admin.get(f"{OURS}/refused").get("status") or {}
            return str((status.get("activator") or {}).get("refusal") or "")

        until(told, 30, "the refusal")
        assert 'cannot get resource "deployments/scale"' in told()
    finally:
        admin.merge(role, {"rules": [SCALES, REPORTS]})
    one.sleeps()
    until(lambda: not told(), 30, "the refusal is over")


def test_requests_at_the_moment_of_falling_asleep_are_answered(site: Any) -> None:
    """The pauses lie around `after`: some requests come just before, some just after."""
    one = site("edge", after=1)
    with httpx.Client(trust_env=False, timeout=30) as client:
        for number in range(30):
            assert one.ask(client if number % 3 == 0 else None) == "1"
            assert one.ask_grpc() == "1"
            if number >= 11 and one.starts > 1:
                break
            # The gate looks once a second: which pause is the first that is too long is chance.
            time.sleep(0.9 + 0.05 * number)
    assert one.starts > 1


def test_requests_after_falling_asleep_wait_for_a_new_server(site: Any) -> None:
    """The old one still takes requests for a while, and then refuses them."""
    one = site("fallen")
    assert one.dozed.wait(30), "the servers are sent to sleep"

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


def test_a_new_activator_lets_be_what_the_one_before_has_woken(site: Any) -> None:
    """A server that loads for longer than `after` answers who waits at the activator that ends,
    and sleeps once nobody has asked for long enough."""
    one = site("replaced", after=1)
    one.sleeps()
    one.start_seconds = 5
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(one.ask)
        until(lambda: one.replicas() == 1, 20, "a server to be asked for")
        one.stop_activator()
        one.activate()
        assert answer.result(40) == "1"
    assert one.starts == 2
    one.sleeps()
    assert one.ask() == "1"


def test_a_grpc_client_that_waits_hears_at_once_that_somebody_is_there(site: Any) -> None:
    """It would give up after 20 s."""
    one = site("patient")
    one.sleeps()
    one.start_seconds = 600
    with socket.create_connection(("127.0.0.1", one.front["grpc"]), timeout=10) as client:
        client.sendall(http2.PREFACE + http2.SETTINGS)
        assert client.recv(64) == http2.SETTINGS


def test_servers_stay_awake_while_somebody_asks(site: Any) -> None:
    one = site("busy", after=3)
    end = time.monotonic() + 8
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
