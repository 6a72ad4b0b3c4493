"""Where one step computes all, nobody reaches a version that is not public, not even its network,
and there is nothing to forge.

Real: Triton, started as the pod starts it.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from modelyard.contract.control import PROOF_PARAMETER
from modelyard.serving.figures import Totals
from modelyard.serving.models import guard

from .conftest import LINE, UID, Target
from .test_steps import PROTOCOLS, image, settled


def tensor() -> dict[str, np.ndarray]:
    return {"images": np.zeros((1, 3, 64, 64), np.float32)}


def refused(target: Target, number: float) -> float:
    """The counter of refusals, once it is that high: it is handed over every two seconds."""
    deadline = time.monotonic() + 30
    while (found := target.counter(guard.REFUSED)) < number and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def figures(target: Target) -> dict[int, Totals]:
    # Requests that are refused or malformed wait in the queue as well.
    return {number: replace(one, queue_micros=0) for number, one in settled(target).items()}


def test_nobody_reaches_a_version_or_network_that_is_not_public(one_step_target: Target) -> None:
    target = one_step_target
    before, counted = figures(target), target.counter(guard.REFUSED)
    tried = 0
    for call in PROTOCOLS.values():
        for parameters in ({}, {PROOF_PARAMETER: UID}, {PROOF_PARAMETER: "0" * 64}):
            for model, given in (
                (target.prepared.name, image()),
                (target.prepared.pipeline, image()),
                (target.prepared.pipeline, tensor()),
            ):
                answer = call(target, model, given, parameters)
                assert isinstance(answer, str), answer
                assert f"send requests to {LINE}" in answer
                tried += 1

    assert refused(target, counted + tried) == counted + tried
    assert figures(target) == before


def test_the_step_of_the_public_version_does_what_the_public_names_do(
    one_step_target: Target,
) -> None:
    target = one_step_target
    before = figures(target)
    for call in PROTOCOLS.values():
        assert "boxes" in call(target, target.serving.pipeline, image())
        assert "output0" in call(target, f"{LINE}-network", tensor())
        assert "raw0" in call(target, target.serving.pipeline, tensor())

    after = figures(target)
    # Only images count.
    assert after[1].requests == before[1].requests + len(PROTOCOLS)
    assert after[2] == before[2]


def test_requests_that_make_no_sense_count_nothing(one_step_target: Target) -> None:
    target = one_step_target
    before = figures(target)
    for call in PROTOCOLS.values():
        for given in ({}, image() | tensor(), {"images": np.zeros((1, 3, 32, 32), np.float32)}):
            answer = call(target, target.serving.pipeline, given)
            assert isinstance(answer, str), answer
    assert figures(target) == before
    assert target.predict()[0] == 200
