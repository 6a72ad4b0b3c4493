"""The local cluster for real: a control plane for tests, and a whole node with pods."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard_local.cluster import ControlPlane, LocalCluster, ensure, machine
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.images import write_archive
from modelyard_local.cluster.paths import FULL_CLUSTER

IMAGE = "modelyard.test/probe:1"
# One program that is server, resolver and client: so the image needs nothing else.
PROBE = """
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	switch os.Args[1] {
	case "serve":
		fmt.Println("serving")
		folder := os.Args[2]
		if err := os.WriteFile(folder+"/hello", []byte("hello"), 0o644); err != nil {
			panic(err)
		}
		panic(http.ListenAndServe(":8080", http.FileServer(http.Dir(folder))))
	case "wait":
		time.Sleep(24 * time.Hour)
	case "resolve":
		found, err := net.LookupHost(os.Args[2])
		if err != nil {
			panic(err)
		}
		fmt.Println(found[0])
	case "fetch":
		answer, err := (&http.Client{Timeout: 5 * time.Second}).Get(os.Args[2])
		if err != nil {
			panic(err)
		}
		io.Copy(os.Stdout, answer.Body)
	}
}
"""


def kubectl(kubeconfig: Path, *arguments: str, given: Any = None) -> str:
    done = subprocess.run(
        [ensure("kubectl"), "--kubeconfig", kubeconfig, *arguments],
        input=None if given is None else json.dumps(given),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


@pytest.mark.cluster
class TestControlPlane:
    def test_two_run_side_by_side_and_keep_their_data(self, tmp_path: Path) -> None:
        with ControlPlane(tmp_path / "a") as one, ControlPlane(tmp_path / "b") as two:
            kubectl(one.kubeconfig, "create", "namespace", "mine")
            assert "mine" not in kubectl(two.kubeconfig, "get", "namespaces")
        with ControlPlane(tmp_path / "a") as again:
            assert "mine" in kubectl(again.kubeconfig, "get", "namespaces")

    def test_heals_after_a_kill(self, tmp_path: Path) -> None:
        with ControlPlane(tmp_path / "a", controller_manager=True) as cluster:
            for name in ("etcd", "kube-apiserver", "kube-controller-manager"):
                running = cluster.processes.running(name)
                assert running
                os.kill(running.pid, signal.SIGKILL)
            cluster.start()
            assert "default" in kubectl(cluster.kubeconfig, "get", "namespaces")

    def test_a_taken_port_is_replaced(self, tmp_path: Path) -> None:
        cluster = ControlPlane(tmp_path / "a")
        cluster.layout.make()
        port = cluster.plan({}).ports["kube-apiserver"]
        holder = (
            "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))"
        )
        other = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{holder}; print('on', flush=True); time.sleep(600)",
                str(port),
            ],
            stdout=subprocess.PIPE,
        )
        try:
            assert other.stdout
            assert other.stdout.readline()
            with cluster:
                assert str(port) not in cluster.kubeconfig.read_text()
                kubectl(cluster.kubeconfig, "get", "namespaces")
        finally:
            other.kill()
            other.wait()

    def test_stop_leaves_no_process_and_purge_no_file(self, tmp_path: Path) -> None:
        cluster = ControlPlane(tmp_path / "a").start()
        pids = [cluster.processes.running(name).pid for name in cluster.component_names]
        cluster.stop(purge=True)
        assert not any(Path("/proc", str(pid)).exists() for pid in pids)
        assert list(tmp_path.iterdir()) == []

    def test_a_component_that_cannot_start_is_quoted(self, tmp_path: Path) -> None:
        cluster = ControlPlane(tmp_path / "a", service_subnet="10.96.0.0/16")
        cluster.layout.make()
        cluster.layout.etcd.write_text("not a folder")
        with pytest.raises(ClusterError, match=r"etcd ended right after its start.*etcd\.log"):
            cluster.start()
        cluster.stop()

    def test_fake_nodes_run_pods(self, tmp_path: Path) -> None:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "fake", "annotations": {"kwok.x-k8s.io/node": "fake"}},
        }
        with ControlPlane(
            tmp_path / "a", controller_manager=True, scheduler=True, kwok=True
        ) as cluster:
            kubectl(cluster.kubeconfig, "create", "-f", "-", given=node)
            kubectl(cluster.kubeconfig, "create", "deployment", "d", "--image=any", "--replicas=3")
            kubectl(
                cluster.kubeconfig,
                "wait",
                "deployment/d",
                "--for=condition=Available",
                "--timeout=60s",
            )

    def test_admission_policies_are_enforced(self, tmp_path: Path) -> None:
        policy = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "no-evil"},
            "spec": {
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["configmaps"],
                        }
                    ]
                },
                "validations": [{"expression": "object.metadata.name != 'evil'"}],
            },
        }
        binding = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "no-evil"},
            "spec": {"policyName": "no-evil", "validationActions": ["Deny"]},
        }
        with ControlPlane(tmp_path / "a") as cluster:
            for document in (policy, binding):
                kubectl(cluster.kubeconfig, "create", "-f", "-", given=document)
            assert eventually(lambda: _refused(cluster.kubeconfig))


def _refused(kubeconfig: Path) -> bool:
    """Whether the policy refuses; it takes effect a moment after it was created."""
    try:
        kubectl(kubeconfig, "create", "configmap", "evil")
    except AssertionError as refusal:
        return "no-evil" in str(refusal)
    kubectl(kubeconfig, "delete", "configmap", "evil")
    return False


def _full_cluster_obstacle() -> str:
    try:
        machine.check()
    except ClusterError as error:
        return str(error)
    if FULL_CLUSTER.exists():
        return f"a full cluster holds this machine: {FULL_CLUSTER.read_text()}"
    return "" if shutil.which("go") else "Go is not installed"


@pytest.fixture(scope="module")
def probe_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of an image that holds one static program."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "go.mod").write_text("module example.com/probe\n\ngo 1.21\n")
    (folder / "main.go").write_text(PROBE)
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": ""}
    subprocess.run(["go", "build", "-o", "probe", "."], cwd=folder, env=environment, check=True)
    archive = folder / "image.tar"
    write_archive(archive, IMAGE, {"probe": (folder / "probe").read_bytes()}, ["/probe"])
    return archive


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A whole cluster, empty."""
    obstacle = _full_cluster_obstacle()
    if obstacle:
        pytest.skip(obstacle)
    # pytest's own folders are too deep for Unix sockets.
    folder = tmp_path_factory.getbasetemp().parent / "full"
    cluster = LocalCluster(folder)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down(purge=True)


def pod(name: str, *arguments: str, **more: Any) -> dict[str, Any]:
    container = {"name": "main", "image": IMAGE, "args": list(arguments)}
    container |= more.pop("container", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **more},
    }


@pytest.fixture(scope="module")
def workload(full: LocalCluster, probe_image: Path) -> LocalCluster:
    """A server without root on a volume, behind a Service, and a client."""
    assert full.load_image(probe_image)
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    server = pod(
        "server",
        "serve",
        "/data",
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    )
    for document in (claim, service, server, pod("client", "wait")):
        kubectl(full.kubeconfig, "apply", "-f", "-", given=document)
    _wait_for_pods(full)
    return full


def _wait_for_pods(cluster: LocalCluster) -> None:
    condition = "--for=condition=Ready"
    kubectl(cluster.kubeconfig, "wait", "pod/server", "pod/client", condition, "--timeout=120s")
    # kube-proxy leads to a pod some time after it is ready.
    assert eventually(lambda: _answers(cluster, "http://server/hello"))


def _answers(cluster: LocalCluster, url: str) -> bool:
    try:
        _ask(cluster, url)
    except AssertionError:
        return False
    return True


def _ask(cluster: LocalCluster, url: str) -> str:
    return kubectl(cluster.kubeconfig, "exec", "client", "--", "/probe", "fetch", url)


def _kill(cluster: LocalCluster, *names: str) -> None:
    for name in names:
        running = cluster.processes.running(name)
        assert running
        os.kill(running.pid, signal.SIGKILL)


@pytest.mark.e2e
@pytest.mark.timeout(600)
class TestFullCluster:
    def test_every_component_is_healthy(self, full: LocalCluster) -> None:
        status = full.status()
        assert [row.message for row in status.components if not row.healthy] == []
        assert status.healthy

    def test_an_image_is_imported_once(self, workload: LocalCluster, probe_image: Path) -> None:
        assert not workload.load_image(probe_image)

    def test_pods_reach_services_by_name_and_the_machine_by_address(
        self, workload: LocalCluster
    ) -> None:
        assert _ask(workload, "http://server/hello") == "hello"
        address = kubectl(
            workload.kubeconfig, "get", "service", "server", "-o", "jsonpath={.spec.clusterIP}"
        )
        resolve = ["exec", "client", "--", "/probe", "resolve", "server.default.svc.cluster.local"]
        assert kubectl(workload.kubeconfig, *resolve).strip() == address
        command = ["curl", "--silent", "--noproxy", "*", "--max-time", "5"]
        from_host = subprocess.run(
            [*command, f"http://{address}/hello"], capture_output=True, text=True, check=True
        )
        assert from_host.stdout == "hello"

    def test_a_pod_reaches_itself_through_its_service(self, workload: LocalCluster) -> None:
        fetch = ["exec", "server", "--", "/probe", "fetch", "http://server.default/hello"]
        assert kubectl(workload.kubeconfig, *fetch) == "hello"

    def test_logs(self, workload: LocalCluster) -> None:
        assert kubectl(workload.kubeconfig, "logs", "server") == "serving\n"

    @pytest.mark.parametrize(
        "victims",
        [
            ("kubelet", "kube-apiserver"),
            ("containerd", "etcd", "kube-proxy", "kube-network-policies", "coredns"),
        ],
    )
    def test_up_heals_and_pods_live_on(
        self, victims: tuple[str, ...], workload: LocalCluster
    ) -> None:
        _kill(workload, *victims)
        workload.up()
        assert workload.status().healthy
        assert _ask(workload, "http://server/hello") == "hello"
        restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
        assert kubectl(workload.kubeconfig, "get", "pods", "-o", restarts) == "0 0"

    def test_up_goes_on_where_a_killed_up_stopped(self, workload: LocalCluster) -> None:
        workload.down()
        code = (
            "from pathlib import Path; from modelyard_local.cluster import LocalCluster;"
            f"LocalCluster(Path({str(workload.layout.root)!r})).up(print)"
        )
        starter = subprocess.Popen(
            [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True
        )
        assert starter.stdout
        for line in starter.stdout:
            if "containerd: started" in line:
                break
        starter.kill()
        starter.wait()
        workload.up()
        _wait_for_pods(workload)
        assert _ask(workload, "http://server/hello") == "hello"

    def test_down_leaves_nothing_running_and_up_brings_the_pods_back(
        self, workload: LocalCluster
    ) -> None:
        workload.down()
        assert workload.left_overs() == []
        with pytest.raises(ClusterError, match="is not running"):
            workload.load_image(Path("image.tar"))
        workload.up()
        _wait_for_pods(workload)
        assert _ask(workload, "http://server/hello") == "hello"

    def test_down_works_after_its_parts_were_killed(self, workload: LocalCluster) -> None:
        _kill(workload, "containerd", "kubelet", "kube-apiserver")
        workload.down(purge=True)
        assert workload.left_overs() == []
        assert not workload.layout.root.exists()
