"""`modelyard predict` from the command line through a real API server to a real Triton."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from PIL import Image

from modelyard.cli.draw import class_color
from modelyard.serving.settings import ServingSettings
from modelyard_local.cluster import ControlPlane

from ..cluster.waiting import CRDS, until_discovered

pytestmark = [pytest.mark.triton, pytest.mark.cluster]

BOX = (8.0, 16.0, 40.0, 48.0, 0.9, 2)
DIGEST = "sha256:" + "0" * 64
NS = "default"


def _own_address() -> str:
    """An address of this machine that is not loopback: endpoints may not be."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # Nothing is sent.
        return str(probe.getsockname()[0])


@pytest.fixture
def relay(shared_server: Any) -> Iterator[tuple[str, int]]:
    """Triton's HTTP port, which is on loopback, on an address that a Service may lead to."""
    near, port = shared_server.http.split(":")
    loop = asyncio.new_event_loop()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(near, int(port))
        await asyncio.gather(copy(reader, forth), copy(back, writer), return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(serve, _own_address(), 0))
    address = server.sockets[0].getsockname()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield address[0], address[1]

    async def end() -> None:
        server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for one in connections:
            one.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(end(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with ControlPlane(tmp_path_factory.mktemp("predict")) as plane:
        yield plane.kubeconfig


def _declare(kubeconfig: Path, line: str, address: tuple[str, int]) -> None:
    """A Modelyard Deployment with its Service, as the operator would leave them."""
    api = config.new_client_from_config(str(kubeconfig))
    _kubectl(kubeconfig, "apply", "--server-side", "-f", str(CRDS))
    until_discovered(partial(_kubectl, kubeconfig))
    port = client.V1ServicePort(name="http", port=8000)
    core = client.CoreV1Api(api)
    service = client.V1Service(
        metadata=client.V1ObjectMeta(name=line), spec=client.V1ServiceSpec(ports=[port])
    )
    core.create_namespaced_service(NS, service)
    # The API server only proxies to the address of a pod that it knows.
    if not core.list_namespaced_service_account(NS).items:
        account = client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="default"))
        core.create_namespaced_service_account(NS, account)
    containers = [{"name": "triton", "image": "none"}]
    core.create_namespaced_pod(NS, {"metadata": {"name": line}, "spec": {"containers": containers}})
    ip = {"podIP": address[0], "podIPs": [{"ip": address[0]}]}
    core.patch_namespaced_pod_status(line, NS, {"status": ip})
    pod = {"kind": "Pod", "name": line, "namespace": NS}
    endpoint = {"ip": address[0], "targetRef": pod}
    subset = {"addresses": [endpoint], "ports": [{"name": "http", "port": address[1]}]}
    core.create_namespaced_endpoints(NS, {"metadata": {"name": line}, "subsets": [subset]})
    objects = client.CustomObjectsApi(api)
    where = ("modelyard.dev", "v1alpha1", NS, "deployments")
    manifest = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": line},
        "spec": {"modelLine": line},
    }
    objects.create_namespaced_custom_object(*where, manifest)
    stable = {
        "modelVersion": f"{line}-7",
        "version": 7,
        "artifact": "onnx",
        "format": "onnx",
        "digest": DIGEST,
        "manifestDigest": DIGEST,
    }
    status = {"status": {"stable": stable, "url": f"http://{line}.{NS}.svc:8000"}}
    objects.patch_namespaced_custom_object_status(*where, line, status)


def _kubectl(kubeconfig: Path, *arguments: str) -> str:
    from modelyard_local.cluster import ensure

    command = [str(ensure("kubectl")), "--kubeconfig", str(kubeconfig), *arguments]
    done = subprocess.run(command, text=True, check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _predict(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelyard.cli.main", "predict", *arguments]
    command += ["--kubeconfig", str(kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


async def test_an_image_comes_back_with_its_boxes(
    switcher: Any, models: Any, kubeconfig: Path, relay: tuple[str, int], tmp_path: Path
) -> None:
    await switcher.ensure(7, *models.constant("v7", [BOX]), ServingSettings())
    line = switcher.line
    _declare(kubeconfig, line, relay)
    image = tmp_path / "scene.png"
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(stream, "PNG")
    image.write_bytes(stream.getvalue())

    out = tmp_path / "boxes.png"
    done = await asyncio.to_thread(_predict, kubeconfig, str(image), "-d", line, "--out", str(out))
    assert done.returncode == 0, done.stderr
    first, header, row, last = done.stdout.splitlines()
    assert first.startswith(f"{line} version 7: 1 box in ")
    assert header.split() == ["LABEL", "SCORE", "X1", "Y1", "X2", "Y2"]
    assert row.split() == ["bird", "0.900", "8.0", "16.0", "40.0", "48.0"]
    assert last == f"boxes drawn into {out}"
    factor = 512 // 64
    assert Image.open(out).getpixel((40 * factor, 48 * factor)) == class_color(2)

    done = await asyncio.to_thread(_predict, kubeconfig, str(image), "-d", line, "-o", "json")
    found = json.loads(done.stdout)
    assert (found["model"], found["version"]) == (line, "7")
    assert found["detections"][0]["label"] == "bird"

    image.write_bytes(b"this is no image")
    done = await asyncio.to_thread(_predict, kubeconfig, str(image), "-d", line)
    assert done.returncode == 1
    assert f"Error: Modelyard Deployment {line} refused the image: " in done.stderr
    assert done.stderr.count("\n") == 1
