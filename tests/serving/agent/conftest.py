"""An agent as a pod runs it: own process, token of a bound service account, real API server, real
Triton, real store directory. Only the kubelet is missing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from modelyard.api.pipeline import Pipeline
from modelyard.contract.control import KEY_FILE_ENV
from modelyard.contract.manifest import ArtifactManifest
from modelyard.contract.naming import edge_server_name
from modelyard.contract.run import AgentRun, StoreLocation, dump_run
from modelyard.serving.triton import Triton, TritonError
from modelyard.serving.warmup import grey_png
from modelyard.store import Store
from modelyard_local.cluster import ControlPlane, ensure

from ...cluster.process import free_port as next_port
from ...waiting import eventually

ROOT = Path(__file__).parents[3]
LINE = "digits"
POD = "digits-server-0"
NODE = "node-1"
PNG = grey_png(64, 64)
ACCOUNT = "modelyard-agent"
GROUP = ("modelyard.dev", "v1alpha1")


@dataclass
class Answers:
    """What clients saw during a loop of requests."""

    versions: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds."""


@asynccontextmanager
async def requests(server: Any, clients: int = 2) -> AsyncIterator[Answers]:
    """Clients in closed loops for as long as the context is open."""
    answers, stop = Answers(), asyncio.Event()

    async def loop() -> None:
        triton = server.client()
        while not stop.is_set():
            started = time.monotonic()
            try:
                answers.versions[(await triton.infer_image(LINE, PNG)).version] += 1
            except TritonError as error:
                answers.errors.append(str(error))
                await asyncio.sleep(0.05)
            answers.slowest = max(answers.slowest, time.monotonic() - started)
        await triton.close()

    tasks = [asyncio.create_task(loop()) for _ in range(clients)]
    try:
        yield answers
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@dataclass
class Agent:
    """The agent's process and its pod's files."""

    folder: Path
    server: Any
    token: Path
    api: tuple[str, int]
    namespace: str
    port: int
    pod: str = POD
    process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        env = {
            "PATH": os.environ["PATH"],
            "MODELYARD_RUN": str(self.folder / "run.json"),
            "POD_NAME": self.pod,
            "POD_NAMESPACE": self.namespace,
            "NODE_NAME": NODE,
            "MODELYARD_TRITON": self.server.grpc,
            "MODELYARD_TRITON_METRICS": self.server.metrics,
            "MODELYARD_SPOOL": str(self.server.spool),
            KEY_FILE_ENV: str(self.server.control_key),
            "MODELYARD_MODELS": str(self.server.root),
            "MODELYARD_CACHE": str(self.folder / "cache"),
            "MODELYARD_CREDENTIALS": str(self.token),
            "MODELYARD_PROBE_HOST": "127.0.0.1",
            "MODELYARD_PROBE_PORT": str(self.port),
            "KUBERNETES_SERVICE_HOST": self.api[0],
            "KUBERNETES_SERVICE_PORT": str(self.api[1]),
            **environment,
        }
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.workloads.agent"],
                env=env,
                stdout=log,
                stderr=log,
            )

    def kill(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Ends the process; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(40)
        self.process = None
        return code

    def counter(self, name: str) -> float:
        """One of the agent's own counters without labels."""
        found = re.search(rf"^modelyard_agent_{name}_total (\S+)$", self.probe("/metrics")[1], re.M)
        assert found, name
        return float(found[1])

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()[-6000:]

    def probe(self, path: str = "/readyz") -> tuple[int, str]:
        """Status and text of a probe; status 0 if nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=3) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)


class Site:
    """One namespace with a Modelyard Deployment, its pod's agent, and a store."""

    def __init__(self, plane: ControlPlane, folder: Path, server: Any, port: int) -> None:
        self.plane = plane
        self.client = config.new_client_from_config(str(plane.kubeconfig))
        self.objects = client.CustomObjectsApi(self.client)
        self.core = client.CoreV1Api(self.client)
        self.namespace = f"site-{uuid.uuid4().hex[:8]}"
        self.server_name = POD
        self.server = server
        self.store = Store.open(StoreLocation(url=f"file://{folder}/store"))
        self.folder = folder
        host, _, api_port = self.client.configuration.host.rpartition("//")[2].rpartition(":")
        self.agent = Agent(
            folder, server, folder / "token", (host, int(api_port)), self.namespace, port
        )
        self._prepare()
        self.configure()

    def configure(self, **fields: Any) -> None:
        """Writes the agent's run spec."""
        defaults = {
            "namespace": self.namespace,
            "deployment": LINE,
            "model_line": LINE,
            "store": StoreLocation(url=f"file://{self.folder}/store"),
            "cpu_limit": 1,
            "report_seconds": 1,
        }
        run = AgentRun(**{**defaults, **fields})
        (self.folder / "run.json").write_text(dump_run(run))

    def on_edge(self, **fields: Any) -> None:
        """Makes the server one of an edge node: its ModelServer outlives pods."""
        self.server_name = edge_server_name(LINE, NODE)
        self.configure(edge=True, **fields)

    def replace_pod(self, name: str) -> None:
        """What a DaemonSet does: another pod on the same node, with a token of its own. The agent
        must not be running; the operator has not heard of it yet."""
        self.core.delete_namespaced_pod(self.agent.pod, self.namespace, grace_period_seconds=0)
        self.agent.pod = name
        self._make_pod()

    def publish(self, artifact: tuple[ArtifactManifest, Path], version: int) -> dict[str, Any]:
        """Puts an artifact into the store; returns the assignment of it."""
        manifest, path = artifact
        return {
            "modelVersion": f"{LINE}-{version}",
            "version": version,
            "artifact": "onnx",
            "format": "onnx",
            "digest": self.store.put_file(path),
            "manifestDigest": self.store.put_bytes(manifest.dump()),
        }

    def assign(self, assignment: dict[str, Any], **pipeline: Any) -> None:
        """What the operator does: creates the ModelServer, or changes what it is assigned."""
        settings = Pipeline(**pipeline).model_dump(by_alias=True)
        assigned = {**assignment, "pipeline": settings}
        spec = {
            "deployment": LINE,
            "podName": self.agent.pod,
            "nodeName": NODE,
            "modelLine": LINE,
            "assigned": assigned,
        }
        body = {
            "apiVersion": "/".join(GROUP),
            "kind": "ModelServer",
            "metadata": {"name": self.server_name},
            "spec": spec,
        }
        try:
            self.objects.create_namespaced_custom_object(
                *GROUP, self.namespace, "modelservers", body
            )
        except ApiException as error:
            if error.status != 409:
                raise
            self.wish(**spec)

    def wish(self, **spec: Any) -> None:
        """Changes fields of the ModelServer's spec; None removes one."""
        self.objects.patch_namespaced_custom_object(
            *GROUP, self.namespace, "modelservers", self.server_name, {"spec": spec}
        )

    def stable(self, assignment: dict[str, Any], **pipeline: Any) -> None:
        """Sets the Deployment's stable version, and its pipeline as a user does."""
        settings = Pipeline(**pipeline).model_dump(by_alias=True)
        self.objects.patch_namespaced_custom_object(
            *GROUP, self.namespace, "deployments", LINE, {"spec": {"pipeline": settings}}
        )
        self.objects.patch_namespaced_custom_object_status(
            *GROUP, self.namespace, "deployments", LINE, {"status": {"stable": assignment}}
        )

    def server_object(self) -> dict[str, Any]:
        return self.objects.get_namespaced_custom_object(
            *GROUP, self.namespace, "modelservers", self.server_name
        )

    def status(self) -> dict[str, Any]:
        return self.server_object().get("status") or {}

    async def until(self, phase: str, version: int | None = None, seconds: float = 60) -> Any:
        """The status once it is about the current spec, in a phase, with a version loaded."""

        def look() -> dict[str, Any] | None:
            found = self.server_object()
            status = found.get("status") or {}
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            held = (status.get("loaded") or {}).get("version")
            right = status.get("phase") == phase and held == version
            return status if current and right else None

        return await eventually(look, seconds, lambda: f"{self.status()}\n{self.agent.log()}")

    async def answers(self) -> str | None:
        """Version that answers under the model line's name; None if none does."""
        triton: Triton = self.server.client()
        try:
            return (await triton.infer_image(LINE, PNG)).version
        except TritonError:
            return None
        finally:
            await triton.close()

    def _prepare(self) -> None:
        account = ACCOUNT
        self.core.create_namespace({"metadata": {"name": self.namespace}})
        self.core.create_namespaced_service_account(self.namespace, {"metadata": {"name": account}})
        rbac = client.RbacAuthorizationV1Api(self.client)
        rule = {"apiGroups": [GROUP[0]]}
        rbac.create_namespaced_role(
            self.namespace,
            {
                "metadata": {"name": account},
                # As the package's docstring says.
                "rules": [
                    {**rule, "resources": ["modelservers"], "verbs": ["list", "watch"]},
                    {**rule, "resources": ["modelservers/status"], "verbs": ["patch"]},
                    {**rule, "resources": ["deployments"], "verbs": ["get"]},
                ],
            },
        )
        rbac.create_namespaced_role_binding(
            self.namespace,
            {
                "metadata": {"name": account},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": account,
                },
                "subjects": [
                    {"kind": "ServiceAccount", "name": account, "namespace": self.namespace}
                ],
            },
        )
        self.objects.create_namespaced_custom_object(
            *GROUP,
            self.namespace,
            "deployments",
            {
                "apiVersion": "/".join(GROUP),
                "kind": "Deployment",
                "metadata": {"name": LINE},
                "spec": {"modelLine": LINE},
            },
        )
        self._make_pod()

    def _make_pod(self) -> None:
        pod = {
            "metadata": {"name": self.agent.pod},
            "spec": {
                "serviceAccountName": ACCOUNT,
                "containers": [{"name": "agent", "image": "none"}],
            },
        }
        made = self.core.create_namespaced_pod(self.namespace, pod)
        bound = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": self.agent.pod,
            "uid": made.metadata.uid,
        }
        token = self.core.create_namespaced_service_account_token(
            ACCOUNT, self.namespace, {"spec": {"boundObjectRef": bound}}
        )
        folder = self.folder / "token"
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(token.status.token)
        (folder / "ca.crt").write_bytes(Path(self.client.configuration.ssl_ca_cert).read_bytes())


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with our kinds."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        install_kinds(plane)
        yield plane


@pytest.fixture
def own_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """An API server that the test may stop."""
    with ControlPlane(tmp_path / "plane") as plane:
        install_kinds(plane)
        yield plane


def install_kinds(plane: ControlPlane) -> None:
    """Our kinds, and the chart's policy for what agents may report."""
    connection = config.new_client_from_config(str(plane.kubeconfig))
    chart = ROOT / "charts" / "modelyard"
    rendered = subprocess.run(
        [ensure("helm"), "template", "modelyard", chart, "-s", "templates/admission/reports.yaml"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    admission = client.AdmissionregistrationV1Api(connection)
    for one in yaml.safe_load_all(rendered.stdout):
        if one["kind"] == "ValidatingAdmissionPolicy":
            admission.create_validating_admission_policy(one)
        else:
            admission.create_validating_admission_policy_binding(one)
    api = client.ApiextensionsV1Api(connection)
    names = []
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        names.append(crd["metadata"]["name"])
        api.create_custom_resource_definition(crd)
    deadline = time.monotonic() + 30
    while names:
        conditions = api.read_custom_resource_definition(names[0]).status.conditions or []
        if any(c.type == "Established" and c.status == "True" for c in conditions):
            names.pop(0)
            continue
        assert time.monotonic() < deadline, names
        time.sleep(0.05)


@pytest.fixture
def site(plane: ControlPlane, tmp_path: Path, own_server: Any, free_port: int) -> Iterator[Site]:
    """A pod's agent, not started yet, beside a Triton of its own."""
    yield from _site(plane, tmp_path, own_server, free_port)


@pytest.fixture
def lonely_site(
    own_plane: ControlPlane, tmp_path: Path, own_server: Any, free_port: int
) -> Iterator[Site]:
    """The same with an API server that the test may stop."""
    yield from _site(own_plane, tmp_path, own_server, free_port)


def _site(plane: ControlPlane, folder: Path, server: Any, port: int) -> Iterator[Site]:
    (folder / "pod").mkdir()
    site = Site(plane, folder / "pod", server, port)
    yield site
    if site.agent.process is not None:
        site.agent.kill()
    site.client.close()


@pytest.fixture
def free_port() -> int:
    return next_port()


@pytest.fixture
def together() -> Callable[..., Any]:
    """`requests`, for test modules, which cannot import this one."""
    return requests
