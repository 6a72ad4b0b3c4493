"""No call of an internal model changes a figure or a copy, or reaches a version that is not public.

Real: Triton, started as the pod starts it. The attacker knows the models' names, which Triton's
metrics show, and what their tensors mean.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc
from tritonclient.utils import serialize_byte_tensor

from modelyard.contract.control import PROOF_PARAMETER
from modelyard.serving.figures import Totals
from modelyard.serving.models import guard

from ...serving.lines import PNG
from .conftest import LINE, UID, Target

Tensors = dict[str, np.ndarray]
RAW = np.full((1, 7, 84), 0.99, np.float32)
"""Made-up predictions: every candidate is certain."""


def over_http(target: Target, model: str, tensors: Tensors, parameters: Any = None) -> str | Any:
    """Outputs by name, or the text of the refusal."""
    inputs = [
        {"name": name, "datatype": datatype(one), "shape": one.shape, "data": listed(one)}
        for name, one in tensors.items()
    ]
    body = {"inputs": inputs, "parameters": parameters or {}}
    status, text = target.http(f"/v2/models/{model}/infer", body)
    if status >= 400:
        return text
    return {one["name"]: np.array(one["data"]) for one in json.loads(text)["outputs"]}


def over_grpc(target: Target, model: str, tensors: Tensors, parameters: Any = None) -> str | Any:
    request = pb.ModelInferRequest(model_name=model)
    for name, value in (parameters or {}).items():
        request.parameters[name].string_param = value
    for name, one in tensors.items():
        request.inputs.add(name=name, datatype=datatype(one), shape=one.shape)
        text = datatype(one) == "BYTES"
        request.raw_input_contents.append(
            serialize_byte_tensor(one).item() if text else one.tobytes()
        )
    answer = target.grpc("ModelInfer", request)
    if isinstance(answer, grpc.RpcError):
        return answer.details()
    raw = zip(answer.outputs, answer.raw_output_contents, strict=True)
    return {one.name: content for one, content in raw}


PROTOCOLS: dict[str, Callable[..., Any]] = {"HTTP": over_http, "gRPC": over_grpc}


def listed(array: np.ndarray) -> list[Any]:
    return [v.decode() if isinstance(v, bytes) else v for v in array.ravel().tolist()]


def datatype(array: np.ndarray) -> str:
    return {"float32": "FP32", "int64": "INT64"}.get(array.dtype.name, "BYTES")


def image() -> Tensors:
    # As text, which JSON can carry too.
    return {"IMAGE": np.array([base64.b64encode(PNG)], np.object_)}


def forged() -> dict[str, np.ndarray]:
    now = time.monotonic_ns()
    made = guard.frame_key(UID.encode(), f"{LINE}-1-00000000")
    return {
        "without a signature": np.array([[64, 64, now, 0, 1, 0, 0]], np.int64),
        "hours late": np.array([[64, 64, now - 10**13, 0, 2, 0, 0]], np.int64),
        "a copy": np.array([[64, 64, now, 77, 3, 0, 0]], np.int64),
        "signed by a guess": guard.seal(made, 64, 64, now, 0),
        "as it was": np.array([[64, 64, now, 0]], np.int64),
    }


@pytest.fixture
def unchanged(target: Target) -> Any:
    """Figures and copies are after the test what they were before."""
    spool = target.server.spool
    before = settled(target)
    copies = sorted(spool.rglob("*")) if spool.exists() else []
    yield
    assert settled(target) == before
    assert (sorted(spool.rglob("*")) if spool.exists() else []) == copies


def settled(target: Target) -> dict[int, Totals]:
    """The figures once two readings more than a flush apart agree: that is what is waited for."""
    before = None
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        # The network's queue is left out: its requests do wait, and under its public name they may.
        found = target.figures()
        now = {number: replace(one, queue_micros=0) for number, one in found.items()}
        if now == before and now and not any(one.partial for one in now.values()):
            return now
        before = now
        time.sleep(2.5)
    raise AssertionError(f"the figures do not settle: {now}")


def test_no_forged_frame_is_answered_or_counted(target: Target, unchanged: None) -> None:
    refused = target.counter(guard.REFUSED)

    for name, frame in forged().items():
        for protocol, call in PROTOCOLS.items():
            answer = call(target, target.serving.postprocess, {"raw": RAW, "frame": frame})
            assert isinstance(answer, str), f"{name}, {protocol}: {answer}"
            assert "frame" in answer, f"{name}, {protocol}: {answer}"

    # All but those of a wrong shape, which Triton itself refuses.
    settled(target)
    assert target.counter(guard.REFUSED) == refused + 2 * (len(forged()) - 1)


def test_a_frame_is_good_for_one_answer_of_its_own_version(target: Target) -> None:
    """An attacker passes on what the first step gives him: as much as sending another image."""
    answer = over_http(target, target.serving.preprocess, image())
    frame = answer["frame"].astype(np.int64).reshape(1, 7)
    before = settled(target)
    calls = {"raw": RAW, "frame": frame}

    assert isinstance(over_grpc(target, target.prepared.postprocess, calls), str)
    assert "boxes" in over_grpc(target, target.serving.postprocess, calls)
    for call in PROTOCOLS.values():
        assert "not the pipeline's own" in call(target, target.serving.postprocess, calls)
    changed = frame.copy()
    changed[0, 2] -= 10**12
    calls = {"raw": RAW, "frame": changed}
    assert "not the pipeline's own" in over_grpc(target, target.serving.postprocess, calls)

    after = settled(target)
    assert after[1].requests == before[1].requests + 1
    assert after[1].latency_ms - before[1].latency_ms < 30_000
    assert after[2] == before[2]


def test_nobody_reaches_a_version_that_is_not_public(target: Target, unchanged: None) -> None:
    for call in PROTOCOLS.values():
        for parameters in ({}, {PROOF_PARAMETER: UID}, {PROOF_PARAMETER: "0" * 64}):
            for model in (target.prepared.name, target.prepared.preprocess):
                answer = call(target, model, image(), parameters)
                assert isinstance(answer, str), answer
                assert f"send requests to {LINE}" in answer
        for frame in forged().values():
            calls = {"raw": RAW, "frame": frame}
            assert isinstance(call(target, target.prepared.postprocess, calls), str)


def test_the_first_step_and_the_network_alone_count_nothing(
    target: Target, unchanged: None
) -> None:
    """They are halves of what the public names do."""
    for call in PROTOCOLS.values():
        call(target, target.serving.preprocess, image())
        call(target, target.serving.network, {"images": np.zeros((1, 3, 64, 64), np.float32)})
        call(target, target.serving.network, {"images": np.zeros((1, 3, 32, 32), np.float32)})
        call(target, target.serving.network, {"images": np.zeros((1, 3, 64, 64), np.int64)})


def test_streams_are_no_way_around(target: Target, unchanged: None) -> None:
    request = pb.ModelInferRequest(model_name=target.serving.postprocess)
    for name, one in {"raw": RAW, "frame": forged()["without a signature"]}.items():
        request.inputs.add(name=name, datatype=datatype(one), shape=one.shape)
        request.raw_input_contents.append(one.tobytes())
    with grpc.insecure_channel(target.server.grpc) as channel:
        (answer,) = rpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(
            iter([request]), timeout=20
        )
    assert "not the pipeline's own" in answer.error_message


def test_the_public_names_answer_all_the_while(target: Target) -> None:
    assert target.predict()[0] == 200
    answer = over_http(target, f"{LINE}-network", {"images": np.zeros((1, 3, 64, 64), np.float32)})
    assert answer["output0"].size == RAW.size
