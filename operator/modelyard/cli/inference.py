"""Sends an image to a Modelyard Deployment and decodes the boxes, through the API server's service
proxy.

The protocol is KServe v2 over HTTP with its binary extension for the input
(https://github.com/kserve/open-inference-protocol, and Triton's
docs/protocol/extension_binary_data.md): a JSON header, then the encoded image as one BYTES element,
4 bytes of little-endian length and the bytes. Outputs come back as JSON. The service proxy needs no
local port and no route into the cluster, only the right to `create services/proxy`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from modelyard.cli.errors import UNREACHABLE, CliError, api_errors, one_line
from modelyard.cli.kube import Cluster, Object, name, status

INPUT = "IMAGE"
OUTPUTS = ("boxes", "scores", "classes", "labels")
_JSON_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Detection:
    """One box in the pixels of the image that was sent."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float
    class_id: int
    label: str


@dataclass(frozen=True)
class Prediction:
    """A server's response."""

    model: str
    """Name of the model in Triton, which is the model line."""
    version: str
    """Version that answered."""
    detections: tuple[Detection, ...]
    """Boxes, the most confident first."""


def encode(image: bytes) -> tuple[bytes, dict[str, str]]:
    """The request's body and headers for an encoded image."""
    element = struct.pack("<I", len(image)) + image
    tensor = {
        "name": INPUT,
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(element)},
    }
    outputs = [{"name": one, "parameters": {"binary_data": False}} for one in OUTPUTS]
    header = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    return header + element, {
        "Content-Type": "application/octet-stream",
        _JSON_LENGTH: str(len(header)),
    }


def decode(body: bytes) -> Prediction:
    """Decodes a response body. Raises CliError if outputs are missing."""
    try:
        answer = json.loads(body)
        tensors = {one["name"]: one["data"] for one in answer["outputs"]}
        boxes, scores, classes, labels = (tensors[one] for one in OUTPUTS)
        rows = [boxes[i : i + 4] for i in range(0, len(boxes), 4)]
        found = tuple(
            Detection(
                float(x1), float(y1), float(x2), float(y2), float(score), int(which), str(label)
            )
            for (x1, y1, x2, y2), score, which, label in zip(
                rows, scores, classes, labels, strict=True
            )
        )
        model, version = str(answer["model_name"]), str(answer.get("model_version", "?"))
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(
            f"the server's answer is not one of a detection pipeline ({type(error).__name__}: "
            f"{one_line(error, 100)}): {one_line(body[:200].decode(errors='replace'))}"
        ) from error
    return Prediction(model, version, tuple(sorted(found, key=lambda d: -d.score)))


def predict(
    cluster: Cluster, deployment: Object, image: bytes, *, timeout: float = 60
) -> Prediction:
    """Detections of a Modelyard Deployment in an encoded image.

    `timeout` is in seconds. Raises CliError if nothing is served yet, no server is ready, or the
    image is rejected.
    """
    namespace, model = deployment["metadata"]["namespace"], deployment["spec"]["modelLine"]
    service, port = _endpoint(deployment)
    path = (
        f"/api/v1/namespaces/{namespace}/services/http:{service}:{port}/proxy"
        f"/v2/models/{quote(model)}/infer"
    )
    body, headers = encode(image)
    code, answer = _post(cluster, path, headers, body, timeout)
    if code == 200:
        return decode(answer)
    raise _refusal(f"Modelyard Deployment {name(deployment)}", code, answer)


def _endpoint(deployment: Object) -> tuple[str, int]:
    """Name and port of the Service in front of the servers."""
    found = status(deployment)
    if not found.get("stable") or not found.get("url"):
        why = found.get("message") or "the operator has not reconciled it yet"
        raise CliError(
            f"Modelyard Deployment {name(deployment)} serves nothing yet: {why}", UNREACHABLE
        )
    url = urlsplit(found["url"])
    return (url.hostname or "").split(".")[0], url.port or 80


def _post(
    cluster: Cluster, path: str, headers: dict[str, str], body: bytes, timeout: float
) -> tuple[int, bytes]:
    api: Any = cluster.api
    api.update_params_for_auth(headers, [], ["BearerToken"], path, "POST", body)
    with api_errors("asking for a prediction", cluster.server):
        response = api.call_api(
            "POST", cluster.server + path, headers, body=body, _request_timeout=timeout
        )
        return int(response.status), bytes(response.read() or b"")


def _refusal(who: str, code: int, answer: bytes) -> CliError:
    try:
        content: Any = json.loads(answer)
    except ValueError:
        content = {}
    if not isinstance(content, dict):
        content = {}
    if "error" in content:  # Triton's own.
        return CliError(f"{who} refused the image: {one_line(content['error'])}")
    reason = one_line(content.get("message") or answer[:300].decode(errors="replace"))
    # 404 comes from the API server here: the Service, or an endpoint behind it, does not exist yet.
    if code in (404, 502, 503, 504):
        return CliError(f"{who} has no server that answers: {reason}", UNREACHABLE)
    return CliError(f"{who}: the cluster answered {code}: {reason}")
