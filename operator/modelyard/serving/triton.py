"""Control of a running Triton, over gRPC only.

A load over HTTP holds one of the server's HTTP threads for its whole duration, and every client
connection on that thread stalls (triton-inference-server/server#8117).

Protocol: https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import grpc
import grpc.aio
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from modelyard.contract import control

CONTROL_HEADER = f"triton-grpc-protocol-{control.HEADER}"
"""Header of the control key: Triton's prefix for restricted protocols, and our name."""

_DTYPES = {"FP32": np.float32, "FP16": np.float16, "INT32": np.int32, "INT64": np.int64}
_MAX_MESSAGE = 256 * 1024 * 1024
_CONTROLLED = frozenset(
    ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload", "ModelStatistics")
)
"""Methods that need the control key, the only ones that it is sent with."""


class TritonError(Exception):
    """Triton refused a request; the message is Triton's own."""


class TritonUnavailableError(TritonError):
    """Nothing answers, or it did not answer in time; trying again may help."""


class ModelLoadError(TritonError):
    """Triton could not load a model."""


class InferenceError(TritonError):
    """Triton answered a prediction with an error."""


@dataclass(frozen=True)
class ModelState:
    """One version of one model in Triton's index."""

    name: str
    version: str
    """Empty for a model that was never loaded."""
    state: str
    """READY, LOADING, UNLOADING, UNAVAILABLE, or empty for never loaded."""
    reason: str
    """Why it is unavailable."""

    @property
    def occupied(self) -> bool:
        """Whether Triton still holds something of it."""
        return self.state in ("READY", "LOADING", "UNLOADING")


@dataclass(frozen=True)
class ModelStatistics:
    """Counters of one version of one model since it was loaded. Times in nanoseconds, sums."""

    name: str
    version: str
    successes: int
    success_ns: int
    failures: int
    """Twice the number of failed requests for an ensemble: see the agent's `traffic.py`."""


@dataclass(frozen=True)
class Prediction:
    """One answer: output arrays by name, and which model version gave it."""

    model: str
    version: str
    outputs: dict[str, Any]


class Triton:
    """A Triton server's gRPC endpoint. Use one instance per event loop, and close it."""

    def __init__(
        self,
        target: str = "127.0.0.1:8001",
        *,
        control_key: Path | None = None,
        timeout: float = 10.0,
        load_timeout: float = 600.0,
    ) -> None:
        """`control_key` is the file with the server's control key, needed for all that clients
        may not do; `timeout` and `load_timeout` are in seconds (a large engine takes minutes to
        load)."""
        self.target = target
        self._control_key = control_key
        self._timeout = timeout
        self._load_timeout = load_timeout
        self._channel = grpc.aio.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE),
                ("grpc.max_send_message_length", _MAX_MESSAGE),
                # A restarted server beside the agent answers soon: do not back off for minutes.
                ("grpc.max_reconnect_backoff_ms", 2000),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._stub = rpc.GRPCInferenceServiceStub(self._channel)

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def ready(self) -> bool:
        """Whether the server answers that it is ready; False if nothing answers."""
        try:
            answer = await self._call("ServerReady", pb.ServerReadyRequest())
        except TritonError:
            return False
        return bool(answer.ready)

    async def model_ready(self, name: str, version: str = "") -> bool:
        """Whether a model answers requests."""
        try:
            answer = await self._call(
                "ModelReady", pb.ModelReadyRequest(name=name, version=version)
            )
        except TritonUnavailableError:
            raise
        except TritonError:
            return False
        return bool(answer.ready)

    async def load(self, name: str) -> None:
        """Loads a model from the repository, an ensemble with the models that it is made of; a
        loaded one is replaced once its successor is up. Raises ModelLoadError."""
        request = pb.RepositoryModelLoadRequest(model_name=name)
        try:
            await self._call("RepositoryModelLoad", request, self._load_timeout)
        except TritonUnavailableError:
            raise
        except TritonError as error:
            raise ModelLoadError(str(error)) from error

    async def unload(self, name: str, *, with_steps: bool = False) -> None:
        """Starts unloading a model; requests in flight are still answered. `with_steps` also
        unloads an ensemble's own models. See `index` for when it is gone."""
        request = pb.RepositoryModelUnloadRequest(model_name=name)
        request.parameters["unload_dependents"].bool_param = with_steps
        await self._call("RepositoryModelUnload", request, self._load_timeout)

    async def index(self) -> list[ModelState]:
        """All models in the repository with the states of their versions."""
        answer = await self._call("RepositoryIndex", pb.RepositoryIndexRequest())
        return [
            ModelState(name=m.name, version=m.version, state=m.state, reason=m.reason)
            for m in answer.models
        ]

    async def config(self, name: str) -> Any:
        """The loaded configuration of a model (a ModelConfig message); None if not loaded."""
        try:
            return (await self._call("ModelConfig", pb.ModelConfigRequest(name=name))).config
        except TritonUnavailableError:
            raise
        except TritonError:
            return None

    async def statistics(self, name: str = "", version: str = "") -> list[ModelStatistics]:
        """Counters of all loaded models, or of one; empty if that one is not loaded."""
        request = pb.ModelStatisticsRequest(name=name, version=version)
        try:
            answer = await self._call("ModelStatistics", request)
        except TritonUnavailableError:
            raise
        except TritonError:
            return []
        return [_statistics(one) for one in answer.model_stats]

    async def infer_image(
        self,
        name: str,
        image: bytes,
        *,
        version: str = "",
        seconds: float = 60.0,
        prove: bool = False,
        parameters: Mapping[str, str] | None = None,
    ) -> Prediction:
        """Sends one encoded image to a pipeline and waits so many seconds at most. With `prove`
        also to a generation that clients are not offered. Raises InferenceError."""
        request = pb.ModelInferRequest(model_name=name, model_version=version)
        for parameter, text in (parameters or {}).items():
            request.parameters[parameter].string_param = text
        if prove and (key := self._key()) is not None:
            proof = control.proof(key, name)
            request.parameters[control.PROOF_PARAMETER].string_param = proof
        request.inputs.add(name="IMAGE", datatype="BYTES", shape=[1])
        request.raw_input_contents.append(
            serialize_byte_tensor(np.array([image], dtype=np.object_)).item()
        )
        try:
            answer = await self._call("ModelInfer", request, seconds)
        except TritonUnavailableError:
            raise
        except TritonError as error:
            raise InferenceError(str(error)) from error
        return _prediction(answer)

    async def infer_tensor(
        self, name: str, tensor_name: str, tensor: np.ndarray, *, seconds: float = 60.0
    ) -> Prediction:
        """Sends one FP32 or FP16 tensor to a bare network. Raises InferenceError."""
        datatype = "FP16" if tensor.dtype == np.float16 else "FP32"
        request = pb.ModelInferRequest(model_name=name)
        request.inputs.add(name=tensor_name, datatype=datatype, shape=list(tensor.shape))
        request.raw_input_contents.append(np.ascontiguousarray(tensor).tobytes())
        try:
            answer = await self._call("ModelInfer", request, seconds)
        except TritonUnavailableError:
            raise
        except TritonError as error:
            raise InferenceError(str(error)) from error
        return _prediction(answer)

    def _key(self) -> bytes | None:
        """The control key. Read anew each time, which takes microseconds: a Triton that was never
        started has none yet."""
        try:
            return self._control_key.read_bytes().strip() if self._control_key else None
        except OSError:
            return None

    async def _call(self, method: str, request: Any, seconds: float | None = None) -> Any:
        metadata: tuple[tuple[str, str], ...] = ()
        if method in _CONTROLLED and (key := self._key()) is not None:
            metadata = ((CONTROL_HEADER, key.decode()),)
        try:
            return await getattr(self._stub, method)(
                request, timeout=seconds or self._timeout, metadata=metadata
            )
        except grpc.aio.AioRpcError as error:
            _raise(error, self.target)


def _raise(error: grpc.aio.AioRpcError, target: str) -> NoReturn:
    code, details = error.code(), error.details() or error.code().name
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        raise TritonUnavailableError(f"Triton at {target} did not answer in time") from error
    # Triton also answers UNAVAILABLE for models that are not ready; only the transport's own
    # failures have gRPC's texts.
    if code == grpc.StatusCode.UNAVAILABLE and _is_transport(details):
        raise TritonUnavailableError(f"Triton at {target} cannot be reached: {details}") from error
    raise TritonError(details) from error


def _is_transport(details: str) -> bool:
    text = details.lower()
    return any(
        word in text
        for word in ("connect", "socket", "goaway", "channel", "transport", "stream", "shutdown")
    )


def _statistics(one: Any) -> ModelStatistics:
    stats = one.inference_stats
    return ModelStatistics(
        name=one.name,
        version=one.version,
        successes=stats.success.count,
        success_ns=stats.success.ns,
        failures=stats.fail.count,
    )


def _prediction(answer: Any) -> Prediction:
    outputs: dict[str, Any] = {}
    for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        if output.datatype == "BYTES":
            flat = [text.decode() for text in deserialize_bytes_tensor(raw)]
            outputs[output.name] = np.array(flat, dtype=np.object_).reshape(tuple(output.shape))
        else:
            array = np.frombuffer(raw, dtype=_DTYPES[output.datatype])
            outputs[output.name] = array.reshape(tuple(output.shape))
    return Prediction(model=answer.model_name, version=answer.model_version, outputs=outputs)
