"""The tree that `modelyard status` shows."""

from __future__ import annotations

from typing import Any

from modelyard.cli import chain
from modelyard.cli.status import plain_lines

DIGEST = "sha256:" + "ab" * 32


def obj(
    name: str, spec: dict[str, Any], status: dict[str, Any], namespace: str = "work"
) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}


def version(number: int, training: str, **status: Any) -> dict[str, Any]:
    spec = {
        "modelLine": "shelf",
        "version": number,
        "lineage": {"trainingJob": {"name": training, "uid": "u"}},
        "dataset": {"name": "digits"},
    }
    return obj(f"shelf-{number}", spec, {"phase": "Ready"} | status)


def training(name: str, **status: Any) -> dict[str, Any]:
    spec = {"model": "yolo11n.yaml", "dataset": {"name": "digits"}}
    return obj(name, spec, {"phase": "Succeeded"} | status)


DATASET = obj("digits", {}, {"phase": "Valid", "images": 1900, "classCount": 10, "digest": DIGEST})
DEPLOYMENT = obj(
    "shelf",
    {"modelLine": "shelf", "target": {"cluster": {"replicas": 2}}},
    {
        "phase": "Progressing",
        "message": "1 of 2 servers answers with version 2",
        "stable": {"modelVersion": "shelf-1", "version": 1},
        "candidate": {"modelVersion": "shelf-2", "version": 2},
        "readyReplicas": 2,
        "updatedReplicas": 1,
        "replicas": 2,
        "url": "http://shelf.work.svc:8000",
    },
)


def server(name: str, loaded: int, assigned: int = 2, **traffic: Any) -> dict[str, Any]:
    spec = {"deployment": "shelf", "nodeName": "node-1", "assigned": {"version": assigned}}
    status = {"phase": "Ready", "loaded": {"version": loaded}, "traffic": traffic}
    return obj(name, spec, status)


EVERYTHING = {
    "Dataset": [DATASET],
    "TrainingJob": [training("one", metrics={"mAP50": 0.856, "mAP50to95": 0.735}), training("two")],
    "ModelVersion": [version(2, "two"), version(1, "one", mAP50=0.85, mAP50to95=0.73)],
    "Deployment": [DEPLOYMENT],
    "ModelServer": [
        server("shelf-a", 2, requests=1234, failures=0, meanMilliseconds=4.21),
        server("shelf-b", 1, requests=1, failures=2),
    ],
}


def lines(objects: dict[str, Any]) -> list[str]:
    return list(plain_lines(chain.build(objects), many=False))


def test_the_whole_chain() -> None:
    assert lines(EVERYTHING) == [
        "Dataset digits  Valid  1,900 images, 10 classes, sha256:abababababab",
        "  TrainingJob one  Succeeded  yolo11n.yaml, mAP50 0.856, mAP50-95 0.735",
        "    ModelVersion shelf-1  Ready  mAP50 0.850, mAP50-95 0.730",
        "      Deployment shelf  Progressing  version 1, version 2 on 1 of 2, 2/2 ready, "
        "http://shelf.work.svc:8000",
        "          1 of 2 servers answers with version 2",
        "        ModelServer shelf-a  Ready  version 2, 1,234 requests, 4.2 ms, on node-1",
        "        ModelServer shelf-b  Ready  version 1, 2 wanted, 1 request, 2 failed, on node-1",
        "  TrainingJob two  Succeeded  yolo11n.yaml",
        "    ModelVersion shelf-2  Ready",
    ]


def test_a_running_training() -> None:
    running = training(
        "one",
        phase="Running",
        progress={"epoch": 3, "epochs": 12, "remainingSeconds": 125, "metrics": {"mAP50": 0.4}},
    )
    assert lines({"TrainingJob": [running]}) == [
        "TrainingJob one  Running  yolo11n.yaml, epoch 3 of 12, 2m05s left, mAP50 0.400"
    ]


def test_a_rejected_version_says_which_gate_it_missed() -> None:
    gates = [
        {"artifact": "onnx", "gate": "mAP50", "required": 0.9, "actual": 0.61, "passed": False},
        {"artifact": "onnx", "gate": "parity", "required": 0.02, "actual": 0.0, "passed": True},
    ]
    rejected = version(1, "one", phase="Rejected", gates=gates, message="1 gate was not met")
    assert lines({"ModelVersion": [rejected]}) == [
        "ModelVersion shelf-1  Rejected  mAP50 0.610 of onnx, at least 0.9 wanted",
        "    1 gate was not met",
    ]


def test_what_is_left_when_the_dataset_and_training_are_gone() -> None:
    assert [n.name for n in chain.build({"ModelVersion": EVERYTHING["ModelVersion"]})] == [
        "shelf-1",
        "shelf-2",
    ]


def test_a_version_whose_training_is_gone_hangs_on_its_dataset() -> None:
    (root,) = chain.build({"Dataset": [DATASET], "ModelVersion": [version(1, "gone")]})
    assert [n.name for n in root.children] == ["shelf-1"]


def test_objects_of_another_namespace_are_not_mixed_up() -> None:
    other = obj("shelf-9", version(9, "one")["spec"], {}, namespace="lab")
    trees = chain.build({"TrainingJob": [training("one")], "ModelVersion": [other]})
    assert [(n.namespace, n.name, n.children) for n in trees if n.name == "shelf-9"] == [
        ("lab", "shelf-9", [])
    ]


def test_only_one_name_with_its_way_and_what_follows() -> None:
    (root,) = chain.filter_by_name(chain.build(EVERYTHING), "shelf-1")
    assert [n.name for n in root.walk()] == [
        "digits",
        "one",
        "shelf-1",
        "shelf",
        "shelf-a",
        "shelf-b",
    ]


def test_new_objects_without_a_status() -> None:
    fresh = {"metadata": {"name": "x", "namespace": "n"}, "spec": {"modelLine": "x"}}
    (node,) = chain.build({"Deployment": [fresh]})
    assert (node.phase, node.figures) == ("Unknown", "0/1 ready")


def test_a_fleet_is_counted_and_not_listed() -> None:
    spec = {"modelLine": "shelf", "target": {"edge": {"nodeSelector": {"camera": "true"}}}}
    fleet = obj(
        "shelf",
        spec | {"rollout": {"steps": [{"weight": 10, "pause": {}}]}},
        {
            "phase": "Paused",
            "message": "waits for a promote",
            "stable": {"version": 1},
            "candidate": {"version": 2},
            "rollout": {
                "stage": "Step",
                "step": 1,
                "stageStartedAt": "2026-11-17T10:00:00Z",
                "target": 490,
                "done": 490,
                "paused": {"reason": "Step", "since": "2026-11-17T10:00:00Z"},
            },
            "replicas": 5000,
            "readyReplicas": 4900,
            "updatedReplicas": 490,
            "offlineReplicas": 100,
        },
    )
    servers = [server("shelf-a", 2), server("shelf-b", 1)]
    assert lines({"Deployment": [fleet], "ModelServer": servers}) == [
        "Deployment shelf  Paused  version 1, version 2 on 490 of 5,000, paused at 10 % of "
        "servers 490/490, 4,900/5,000 ready, 100 offline",
        "    waits for a promote",
        "  ModelServer shelf-a  Ready  version 2, on node-1",
        "  ModelServer shelf-b  Ready  version 1, 2 wanted, on node-1",
        "  4,998 more servers: modelyard rollout status shelf",
    ]


def test_a_deployment_that_drifts_or_may_says_so() -> None:
    def figures(status: str, reason: str) -> str:
        found = DEPLOYMENT["status"] | {
            "conditions": [{"type": "Drifting", "status": status, "reason": reason}],
            "monitoring": {
                "drift": {"drifting": 12, "baseline": 1400},
                "episode": {"signal": "TopScore"},
            },
        }
        (node,) = chain.build({"Deployment": [DEPLOYMENT | {"status": found}]})
        return node.figures

    assert "drifts in TopScore on 12/1,400" in figures("True", "ServersDrift")
    assert "drift unknown (NoEvidence)" in figures("Unknown", "NoEvidence")
    assert "drift" not in figures("False", "NoDrift")
