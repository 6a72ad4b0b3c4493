"""Rollouts on the real kubelet and a real Triton, under requests that must not fail.

Version 2 serves, from the tests before. Version 1 plays the candidate, and then version 2 again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from modelyard.contract.run import OFTEN_SECONDS
from modelyard_local.demo import reach
from modelyard_local.demo.agreement import validation_scenes
from modelyard_local.demo.load import RequestLoop, TritonConnection, figures

from .conftest import Demo, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DIGITS = "digits"
ERRORS = {"name": "errors", "metric": "ErrorRate", "max": 0, "minSamples": 5, "interval": "3s"}
AGREEMENT = {"name": "agreement", "metric": "Agreement", "min": 0.5, "minSamples": 5,
             "interval": "2s", "inconclusiveLimit": 30}  # fmt: skip
ERRORS["inconclusiveLimit"] = 30
SHADOW_SECONDS = 2 * OFTEN_SECONDS
"""A server tells now and then what it has compared, and nothing of it once the stage is over."""


def test_a_version_is_shadowed_then_canaried_and_promoted(demo: Demo) -> None:
    with requests(demo) as loop:
        roll(
            demo,
            version={"policy": "Pinned", "number": 1},
            rollout={
                "shadow": {
                    "share": 1,
                    "duration": f"{SHADOW_SECONDS}s",
                    "analysis": {"metrics": [AGREEMENT]},
                },
                "steps": [{"weight": 50, "pause": {}, "analysis": {"metrics": [ERRORS]}}],
            },
        )
        until(lambda: stage(demo) == "Shadow", 60, "the shadow stage")
        figure = until(lambda: shadow(demo), 120, "answers of version 1 beside version 2")
        assert figure["version"] == 1
        shadowed = until_waiting(demo)
        assert held(demo) == [1, 2]
        annotate(demo, "promote", f"step@{time.time():.0f}")
        until(lambda: phase(demo) == "Healthy", 120, "version 1 everywhere")
        time.sleep(1)
    answers = figures(loop.stop())
    assert answers["failed"] == 0, answers["errors"]
    assert answers["answeredByVersion"].keys() == {"1", "2"}
    assert {a.version for a in loop.answers if a.at + a.seconds < shadowed} == {2}
    assert held(demo) == [1, 1]
    assert not any(server["spec"].get("shadow") for server in servers(demo))
    record = status(demo)["history"][0]
    assert (record["version"], record["previous"], record["outcome"]) == (1, 2, "Succeeded")
    assert "agreement" in events(demo, "AnalysisSucceeded")


def test_a_failed_analysis_rolls_back_within_seconds_and_loses_nothing(demo: Demo) -> None:
    never = {key: value for key, value in ERRORS.items() if key != "max"}
    never |= {"name": "certainty", "metric": "Confidence", "min": 1.1}
    with requests(demo) as loop:
        asked = time.monotonic()
        roll(
            demo,
            version={"policy": "Latest", "number": None},
            rollout={
                "shadow": None,
                "steps": [{"weight": 50, "analysis": {"metrics": [never]}}],
            },
        )
        until(lambda: 2 in held(demo), 120, "a server has version 2")
        forth = time.monotonic() - asked
        until(lambda: phase(demo) == "Degraded", 180, "the analysis fails")
        told = time.monotonic()
        until(lambda: held(demo) == [1, 1], 60, "every server is back on version 1")
        back = time.monotonic() - told
        # A busy machine is slow both ways.
        assert back < 10 + 2 * forth, f"{forth:.1f} s forth"
        time.sleep(1)
    answers = figures(loop.stop())
    assert answers["failed"] == 0, answers["errors"]
    assert answers["answeredByVersion"].keys() == {"1", "2"}
    found = status(demo)
    assert found["stable"]["version"] == 1
    assert found["rejected"]["version"] == 2
    assert found["rejected"]["reason"] == "AnalysisFailed"
    assert "certainty" in found["message"]
    assert "≥ 1.1" in found["message"]


def test_the_rejected_version_comes_back_when_somebody_asks(demo: Demo) -> None:
    roll(demo, rollout={"steps": [{"weight": 50}]})
    assert status(demo)["rejected"]["version"] == 2
    with requests(demo) as loop:
        annotate(demo, "retry", f"{time.time():.0f}")
        until(lambda: phase(demo) == "Healthy" and held(demo) == [2, 2], 120, "version 2")
    answers = figures(loop.stop())
    assert answers["failed"] == 0, answers["errors"]
    assert "rejected" not in status(demo)


def test_an_edge_server_belongs_to_its_node_and_outlives_its_pod(demo: Demo) -> None:
    serve_on_nodes(demo)
    until(lambda: edge_answers(demo), 180, "the edge server answers")
    (before,) = servers(demo, "edge")
    assert before["spec"]["nodeName"]
    assert before["status"]["loaded"]["version"] == 2
    demo.objects.kubectl("delete", "pod", before["spec"]["podName"], "--wait=false")

    def replaced() -> bool:
        (now,) = servers(demo, "edge")
        assert now["metadata"]["uid"] == before["metadata"]["uid"]
        return now["spec"]["podName"] != before["spec"]["podName"]

    until(replaced, 120, "the ModelServer follows its node's new pod")
    until(lambda: edge_answers(demo), 180, "the new pod answers")
    demo.objects.kubectl("delete", "mdep", "edge")
    until(lambda: not servers(demo, "edge"), 60, "its ModelServer is gone with it")


def test_an_edge_pod_that_never_starts_is_no_offline_node_and_can_be_taken_back(demo: Demo) -> None:
    serve_on_nodes(demo, offline_after="9s", rollout={"progressDeadlineSeconds": 20})
    until(lambda: edge_answers(demo), 180, "the edge server answers")
    roll(demo, "edge", server={"resources": {"cpu": "1000"}})

    def stuck() -> dict[str, Any] | None:
        """The status once it names the new pod, which comes only when the former one is gone."""
        found = status(demo, "edge")
        told = found.get("phase") == "Degraded" and "Insufficient cpu" in found["message"]
        return found if told else None

    found = until(stuck, 120, "the new pod fits no node")
    assert "no server has switched for 20 s" in found["message"]
    assert not found.get("offlineReplicas")
    roll(demo, "edge", server={"resources": {"cpu": "100m"}})
    until(lambda: edge_answers(demo), 180, "a pod of the former settings answers")
    demo.objects.kubectl("delete", "mdep", "edge")
    until(lambda: not servers(demo, "edge"), 60, "its ModelServer is gone with it")


def serve_on_nodes(demo: Demo, offline_after: str = "5m", **spec: Any) -> None:
    """Declare the Deployment `edge`: a server on each node."""
    edge = {"nodeSelector": {"kubernetes.io/os": "linux"}, "offlineAfter": offline_after}
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": "edge"},
        "spec": {
            "modelLine": DIGITS,
            "target": {"edge": edge},
            "server": {"resources": {"cpu": "100m", "memory": "1Gi"}},
            **spec,
        },
    }
    demo.objects.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def edge_answers(demo: Demo) -> bool:
    return phase(demo, "edge") == "Healthy" and status(demo, "edge")["updatedReplicas"] == 1


@contextmanager
def requests(demo: Demo) -> Iterator[RequestLoop]:
    """A request loop over HTTP and gRPC while the context lasts."""
    image = validation_scenes(demo.folder / "digits.zip", 1)[0].data
    with reach.servers(demo.objects, DIGITS) as addresses:
        loop = RequestLoop(
            [partial(TritonConnection, p, a, DIGITS, image) for p, a in addresses.items()]
        )
        loop.start()
        try:
            yield loop
        finally:
            loop.stop()


def roll(demo: Demo, name: str = DIGITS, **spec: Any) -> None:
    """Change a Deployment's spec, and wait until the operator has seen it."""
    demo.objects.patch_spec("Deployment", name, spec)

    def seen() -> bool:
        found = demo.objects.get("Deployment", name) or {}
        generation = found["metadata"]["generation"]
        return bool(found["status"].get("observedGeneration") == generation)

    until(seen, 30, "the operator has seen the spec")


def until_waiting(demo: Demo) -> float:
    """Wait until the rollout waits for somebody; a moment when the shadow stage was still on."""
    last = 0.0

    def waiting() -> bool:
        nonlocal last
        asked, found = time.time(), status(demo)
        if (found.get("rollout") or {}).get("stage") == "Shadow":
            last = asked
        return found.get("phase") == "Paused"

    until(waiting, 180, "the canary waits to be promoted")
    assert last, "the shadow stage was over at once"
    # Servers hear of the next stage just before the status tells it.
    return last - 0.5


def annotate(demo: Demo, action: str, value: str) -> None:
    demo.objects.kubectl("annotate", "mdep", DIGITS, f"modelyard.dev/{action}={value}")


def status(demo: Demo, name: str = DIGITS) -> dict[str, Any]:
    found = demo.objects.get("Deployment", name) or {}
    return found.get("status") or {}


def phase(demo: Demo, name: str = DIGITS) -> str:
    return str(status(demo, name).get("phase"))


def stage(demo: Demo) -> str:
    return str((status(demo).get("rollout") or {}).get("stage"))


def servers(demo: Demo, name: str = DIGITS) -> list[dict[str, Any]]:
    return [s for s in demo.objects.list("ModelServer") if s["spec"]["deployment"] == name]


def held(demo: Demo) -> list[int]:
    """Versions that the servers answer with."""
    return sorted(s["status"]["loaded"]["version"] for s in servers(demo))


def shadow(demo: Demo) -> dict[str, Any] | None:
    """What a server says of the version that it shadows, once it has compared something."""
    found = [s["status"].get("shadow") or {} for s in servers(demo)]
    return next((one for one in found if one.get("images")), None)


def events(demo: Demo, reason: str) -> str:
    return demo.objects.kubectl(
        "get",
        "events",
        "--field-selector",
        f"reason={reason}",
        "-o",
        "jsonpath={.items[*].message}",
    )
