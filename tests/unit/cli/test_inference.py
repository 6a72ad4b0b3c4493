"""The request for a prediction, and how answers are read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from modelyard.cli.errors import CliError
from modelyard.cli.inference import Detection, decode, encode


def test_the_request_is_what_tritons_own_client_sends() -> None:
    image = bytes(range(256)) * 3
    body, headers = encode(image)
    split = int(headers["Inference-Header-Content-Length"])

    tensor = InferInput("IMAGE", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([image], dtype=np.object_))
    theirs, their_split = InferenceServerClient.generate_request_body([tensor])

    assert body[split:] == theirs[their_split:]
    assert json.loads(body[:split])["inputs"] == json.loads(theirs[:their_split])["inputs"]


def _answer(**outputs: list[object]) -> bytes:
    tensors = [{"name": k, "datatype": "FP32", "shape": [], "data": v} for k, v in outputs.items()]
    return json.dumps({"model_name": "shelf", "model_version": "3", "outputs": tensors}).encode()


def test_boxes_come_most_confident_first() -> None:
    found = decode(
        _answer(
            boxes=[0, 0, 1, 1, 2, 3, 4, 5], scores=[0.4, 0.9], classes=[0, 7], labels=["a", "b"]
        )
    )
    assert (found.model, found.version) == ("shelf", "3")
    assert found.detections == (
        Detection(2, 3, 4, 5, 0.9, 7, "b"),
        Detection(0, 0, 1, 1, 0.4, 0, "a"),
    )


def test_no_boxes() -> None:
    assert decode(_answer(boxes=[], scores=[], classes=[], labels=[])).detections == ()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"outputs": []}',
        _answer(boxes=[1, 2, 3], scores=[1], classes=[1], labels=["a"]),
        _answer(boxes=[1, 2, 3, 4], scores=[], classes=[1], labels=["a"]),
    ],
)
def test_an_answer_that_is_none(body: bytes) -> None:
    with pytest.raises(CliError, match="not one of a detection pipeline"):
        decode(body)
