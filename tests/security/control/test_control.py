"""Nobody but the agent controls a serving pod's Triton.

Real: Triton, started as the pod starts it. The attacker reaches its HTTP and gRPC ports, and knows
every identifier of the pod.
"""

from __future__ import annotations

import base64
import http.client
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from modelyard.contract.control import HEADER

from ...waiting import until
from .conftest import LINE, PREFIX, Target, load_request, strangers, takeover

HTTP: dict[str, tuple[str, Any]] = {
    "index": ("/v2/repository/index", {}),
    "load": (f"/v2/repository/models/{LINE}/load", {}),
    "unload": (f"/v2/repository/models/{LINE}/unload", {}),
    "trace": ("/v2/trace/setting", None),
    "set trace": ("/v2/trace/setting", {"trace_level": ["TIMESTAMPS"], "trace_rate": "1"}),
    "model's trace": (f"/v2/models/{LINE}/trace/setting", None),
    "set model's trace": (f"/v2/models/{LINE}/trace/setting", {"trace_rate": "1"}),
    "log": ("/v2/logging", None),
    "set log": ("/v2/logging", {"log_verbose_level": 9}),
    "shared memory": ("/v2/systemsharedmemory/status", None),
    "map shared memory": (
        "/v2/systemsharedmemory/region/r/register",
        {"key": "/r", "offset": 0, "byte_size": 64},
    ),
    "unmap shared memory": ("/v2/systemsharedmemory/unregister", {}),
    "CUDA memory": ("/v2/cudasharedmemory/status", None),
    "map CUDA memory": (
        "/v2/cudasharedmemory/region/r/register",
        {"raw_handle": {"b64": "AA=="}, "device_id": 0, "byte_size": 64},
    ),
    "unmap CUDA memory": ("/v2/cudasharedmemory/unregister", {}),
    "statistics": ("/v2/models/stats", None),
    "model's statistics": (f"/v2/models/{LINE}/stats", None),
    "version's statistics": (f"/v2/models/{LINE}/versions/1/stats", None),
}
CONTROLLED: dict[str, Any] = {
    "RepositoryIndex": pb.RepositoryIndexRequest(),
    "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name=LINE),
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name=LINE),
    "ModelStatistics": pb.ModelStatisticsRequest(),
}
UNUSED: dict[str, Any] = {
    "TraceSetting": pb.TraceSettingRequest(),
    "LogSettings": pb.LogSettingsRequest(),
    "SystemSharedMemoryStatus": pb.SystemSharedMemoryStatusRequest(),
    "SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest(
        name="r", key="/r", byte_size=64
    ),
    "SystemSharedMemoryUnregister": pb.SystemSharedMemoryUnregisterRequest(),
    "CudaSharedMemoryStatus": pb.CudaSharedMemoryStatusRequest(),
    "CudaSharedMemoryRegister": pb.CudaSharedMemoryRegisterRequest(
        name="r", raw_handle=b"0", byte_size=64
    ),
    "CudaSharedMemoryUnregister": pb.CudaSharedMemoryUnregisterRequest(),
}
OPEN: dict[str, Any] = {
    "ServerLive": pb.ServerLiveRequest(),
    "ServerReady": pb.ServerReadyRequest(),
    "ServerMetadata": pb.ServerMetadataRequest(),
    "ModelReady": pb.ModelReadyRequest(name=LINE),
    "ModelMetadata": pb.ModelMetadataRequest(name=LINE),
    "ModelConfig": pb.ModelConfigRequest(name=LINE),
}


@pytest.mark.parametrize("what", HTTP)
def test_http_offers_no_control_to_anybody(target: Target, what: str) -> None:
    path, body = HTTP[what]

    for who, headers in strangers(target.key).items():
        status, text = target.http(path, body, headers)
        assert status >= 400, who
        assert "restricted" in text, f"{who}: {status} {text}"


@pytest.mark.parametrize("what", [*CONTROLLED, *UNUSED])
def test_grpc_offers_no_control_without_the_key(target: Target, what: str) -> None:
    key = target.key if what in UNUSED else None

    for who, headers in strangers(key).items():
        answer = target.grpc(what, {**CONTROLLED, **UNUSED}[what], headers)
        assert isinstance(answer, grpc.RpcError), f"{who}: {answer}"
        assert "restricted" in answer.details(), f"{who}: {answer.details()}"


@pytest.mark.parametrize("name", ["evil", LINE])
def test_no_code_is_run_by_a_load(target: Target, tmp_path: Path, name: str) -> None:
    given = takeover(tmp_path, name)
    given["file:1/model.py"] = base64.b64encode(given["file:1/model.py"].encode()).decode()

    for headers in strangers(target.key).values():
        load = f"/v2/repository/models/{name}/load"
        assert target.http(load, {"parameters": given}, headers)[0] >= 400
    for headers in strangers(None).values():
        answer = target.grpc("RepositoryModelLoad", load_request(tmp_path, name), headers)
        assert isinstance(answer, grpc.RpcError)

    assert not (tmp_path / "owned").exists()
    assert target.predict()[0] == 200


def test_the_same_load_runs_code_with_the_key(target: Target, tmp_path: Path) -> None:
    """The attack of the tests above is a real one."""
    headers = {PREFIX + HEADER: target.key}

    answer = target.grpc("RepositoryModelLoad", load_request(tmp_path, "evil"), headers)

    assert not isinstance(answer, grpc.RpcError), answer.details()
    assert (tmp_path / "owned").exists()
    target.grpc(
        "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="evil"), headers
    )
    # While a model is being unloaded, Triton is not ready.
    until(lambda: target.http("/v2/health/ready")[0] == 200)


@pytest.mark.parametrize(
    "path",
    [
        "//v2/repository/index",
        "/v2//repository/index",
        "/v2/repository/index/",
        "/v2/./repository/index",
        "/v2/x/../repository/index",
        "/v2/repository/%69ndex",
        "/V2/repository/index",
        "/v2/repository/index?x=1",
        "/v2/models/stats/",
        "/v2/models/%73tats",
        "/v2/logging/",
    ],
)
def test_no_other_spelling_of_a_path_leads_there(target: Target, path: str) -> None:
    host, port = target.server.http.split(":")
    for method in ("GET", "POST"):
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        connection.request(method, path, b"{}" if method == "POST" else None)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status >= 400, f"{method} {path}: {text}"


def test_the_agent_controls_with_the_key(target: Target) -> None:
    headers = {PREFIX + HEADER: target.key}

    states = target.grpc("RepositoryIndex", CONTROLLED["RepositoryIndex"], headers)
    counted = target.grpc("ModelStatistics", CONTROLLED["ModelStatistics"], headers)

    assert LINE in {one.name for one in states.models}
    assert LINE in {one.name for one in counted.model_stats}


@pytest.mark.parametrize("method", OPEN)
def test_clients_find_and_ask_models_without_a_key(target: Target, method: str) -> None:
    assert not isinstance(target.grpc(method, OPEN[method]), grpc.RpcError)
    for path in ("/v2/health/live", "/v2/health/ready", "/v2", f"/v2/models/{LINE}"):
        assert target.http(path)[0] == 200, path
    status, text = target.predict()
    assert status == 200
    assert '"boxes"' in text
    assert target.counter("modelyard_images_total") > 0


def test_the_key_is_random_and_for_the_pod_alone(target: Target) -> None:
    key = target.server.control_key

    assert len(bytes.fromhex(target.key)) == 32
    assert len(set(target.key)) > 8
    assert key.stat().st_mode & 0o777 == 0o440
    assert not key.with_name("key.part").exists()


def test_no_log_shows_the_key(target: Target) -> None:
    assert "shop" in target.server.log.read_text()
    assert target.key not in target.server.log.read_text()
