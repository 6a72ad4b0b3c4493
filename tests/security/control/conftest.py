"""A real Triton started by a serving pod's own command line, with one version that serves and one
that is only prepared, and what attackers ask of it. Only the kubelet is missing."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from modelyard.contract.control import HEADER
from modelyard.core.deployment.tritoncommand import CLOSED
from modelyard.serving.figures import Totals, parse
from modelyard.serving.names import Generation
from modelyard.serving.repository import Repository
from modelyard.serving.settings import ServingSettings
from modelyard.serving.switch import Switcher

from ...serving.conftest import Models, triton_folder
from ...serving.lines import PNG
from ...serving.server import Server, unpacked

from ...prebuild import distributes, wanted  # isort: skip

__all__ = ["triton_folder"]

LINE = "shop"
UID = str(uuid.uuid4())
"""What a pod's UID looks like: it authorised control once."""
PREFIX = "triton-grpc-protocol-"


def pytest_sessionstart(session: pytest.Session) -> None:
    if distributes(session):
        unpacked()


def pytest_collection_finish(session: pytest.Session) -> None:
    if wanted(session, "triton_folder"):
        unpacked()


@dataclass
class Target:
    """What is attacked."""

    server: Server
    serving: Generation
    prepared: Generation

    @property
    def key(self) -> str:
        return self.server.control_key.read_text().strip()

    def http(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text; a GET without a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.server.http}{path}", data, {"Content-Type": "application/json"}
        )
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def grpc(
        self, method: str, request: Any, headers: dict[str, str] | None = None
    ) -> grpc.StatusCode | Any:
        """The answer, or the code and text of a refusal."""
        with grpc.insecure_channel(self.server.grpc) as channel:
            stub = rpc.GRPCInferenceServiceStub(channel)
            try:
                metadata = tuple((headers or {}).items())
                return getattr(stub, method)(request, timeout=20, metadata=metadata)
            except grpc.RpcError as error:
                return error

    def figures(self) -> dict[int, Totals]:
        """What is counted, by version: 1 serves, 2 is prepared."""
        with urllib.request.urlopen(self.server.metrics, timeout=20) as answer:
            return parse(answer.read().decode(), LINE)

    def counter(self, name: str) -> float:
        """The sum of one of the pipeline's counters."""
        with urllib.request.urlopen(self.server.metrics, timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(one.rpartition(" ")[2]) for one in lines if one.startswith(f"{name}{{"))

    def predict(self, model: str = LINE) -> tuple[int, str]:
        """One image over HTTP."""
        image = {"name": "IMAGE", "datatype": "BYTES", "shape": [1]}
        image["data"] = [base64.b64encode(PNG).decode()]
        return self.http(f"/v2/models/{model}/infer", {"inputs": [image]})


@pytest.fixture(scope="module")
def target(triton_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    base = tmp_path_factory.mktemp("attacked")
    server = Server(triton_folder, base / "models", base / "triton.log")
    server.start()
    try:
        yield asyncio.run(_brought_up(server, base))
    finally:
        server.stop()


@pytest.fixture(scope="module")
def one_step_target(
    triton_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """The same, where one step computes all."""
    base = tmp_path_factory.mktemp("attacked")
    server = Server(triton_folder, base / "models", base / "triton.log")
    server.start()
    try:
        yield asyncio.run(_brought_up(server, base, one_step=True))
    finally:
        server.stop()


async def _brought_up(server: Server, base: Path, *, one_step: bool = False) -> Target:
    await server.wait_ready()
    artifacts = base / "artifacts"
    artifacts.mkdir()
    made = Models(artifacts)
    triton = server.client()
    switcher = Switcher(Repository(server.root, LINE), triton)
    boxes = [(1, 20, 50, 60, 0.9, 1)]
    settings = ServingSettings(one_step=one_step)
    swap = await switcher.ensure(1, *made.constant("v1", boxes), settings)
    prepared = await switcher.prepare(2, *made.constant("v2", boxes), settings)
    await triton.close()
    return Target(server, swap.generation, prepared)


def strangers(key: str | None) -> dict[str, dict[str, str]]:
    """Headers that an attacker may try, by what he knows; `key` only if he must not have it."""
    tried = {"none": "", "uid": UID, "guess": "0" * 64, "empty": " ", "name": "shop-0"}
    if key is not None:
        tried["key"] = key
    found: dict[str, dict[str, str]] = {}
    for who, value in tried.items():
        headers = (HEADER, CLOSED, PREFIX + HEADER, PREFIX + CLOSED)
        found[who] = dict.fromkeys(headers, value) if value else {}
    return found


def takeover(folder: Path, name: str) -> dict[str, Any]:
    """What makes Triton run an attacker's Python: a model given with the request. It leaves a file
    in the folder."""
    code = f"open({str(folder / 'owned')!r}, 'w')\n"
    code += "class TritonPythonModel:\n  def execute(self, requests): return []\n"
    config = {
        "name": name,
        "backend": "python",
        "input": [{"name": "x", "data_type": "TYPE_INT32", "dims": [1]}],
        "output": [{"name": "y", "data_type": "TYPE_INT32", "dims": [1]}],
        "instance_group": [{"kind": "KIND_CPU"}],
    }
    return {"config": json.dumps(config), "file:1/model.py": code}


def load_request(folder: Path, name: str) -> Any:
    """The same over gRPC."""
    request = pb.RepositoryModelLoadRequest(model_name=name)
    given = takeover(folder, name)
    request.parameters["config"].string_param = given["config"]
    request.parameters["file:1/model.py"].bytes_param = given["file:1/model.py"].encode()
    return request
