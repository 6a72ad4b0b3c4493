"""A Deployment serves the wanted Ready version and moves its servers without a gap."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest

from .world import NOW, World, artifact, condition, deployment, made_by, version


def serving_pod(world: World, name: str, *, ready: bool = True) -> dict[str, Any]:
    """A pod as the apps/v1 Deployment would make it."""
    (workload,) = world.of("apps/Deployment")
    return world.add(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**made_by(workload), "name": name},
            "spec": {"nodeName": "node-1"},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": str(ready)}],
            },
        }
    )


def load(world: World, name: str) -> None:
    """The agent brings its server to what it is assigned."""
    server = world.objects["ModelServer", name]
    assigned = server["spec"]["assigned"]
    held = {k: assigned[k] for k in ("modelVersion", "version", "digest", "pipeline")}
    server["status"] = {"phase": "Ready", "loaded": held}


def refuse(world: World, name: str, message: str) -> None:
    """The agent cannot load what it is assigned and keeps what it has."""
    server = world.objects["ModelServer", name]
    generation = server["metadata"]["generation"]
    server["status"] = {
        **server.get("status", {}),
        "phase": "Failed",
        "message": message,
        "observedGeneration": generation,
    }


def assigned(world: World) -> dict[str, int]:
    return {
        s["metadata"]["name"]: s["spec"]["assigned"]["version"] for s in world.of("ModelServer")
    }


def healthy(count: int = 3, **spec: Any) -> World:
    """A Deployment whose servers all hold version 1."""
    target = {"cluster": {"replicas": count}}
    world = World(deployment(target=target, **spec), version(1))
    world.settle("Deployment", "cameras")
    for number in range(count):
        serving_pod(world, f"cameras-{number}")
    world.settle("Deployment", "cameras")
    for number in range(count):
        load(world, f"cameras-{number}")
    assert world.settle("Deployment", "cameras")["status"]["phase"] == "Healthy"
    return world


@pytest.mark.parametrize(
    ("objects", "policy", "reason"),
    [
        pytest.param([], {}, "NoReadyVersion", id="no version"),
        pytest.param([version(1, "Validating")], {}, "NoReadyVersion", id="none ready"),
        pytest.param([version(1, "Rejected")], {}, "NoReadyVersion", id="rejected is never served"),
        pytest.param(
            [version(1)], {"policy": "Pinned", "number": 7}, "VersionNotFound", id="pinned, missing"
        ),
        pytest.param(
            [version(1), version(2, "Rejected")],
            {"policy": "Pinned", "number": 2},
            "VersionRejected",
            id="pinned, rejected",
        ),
    ],
)
def test_serves_nothing_that_is_not_ready(
    objects: list[Any], policy: dict[str, Any], reason: str
) -> None:
    world = World(deployment(version=policy), *objects)
    made = world.settle("Deployment", "cameras")
    assert made["status"]["phase"] == "Pending"
    assert condition(made, "Ready")["reason"] == reason
    assert world.of("apps/Deployment") == []


def test_latest_serves_the_highest_ready_version() -> None:
    world = World(deployment(), version(1), version(2), version(3, "Validating"))
    made = world.settle("Deployment", "cameras")
    assert made["status"]["stable"]["version"] == 2
    assert made["status"]["stable"]["digest"] == artifact(2)["digest"]
    assert made["status"]["url"] == "http://cameras.shop.svc:8000"


def server(world: World, name: str) -> dict[str, Any]:
    return world.objects["ModelServer", name]


def profiled(number: int) -> dict[str, Any]:
    made = version(number)
    made["status"]["profile"] = {
        "digest": f"sha256:{number + 2000:064x}",
        "summaryDigest": f"sha256:{number + 3000:064x}",
        "images": 10,
    }
    return made


def test_servers_are_told_the_profile_of_what_they_serve() -> None:
    world = World(deployment(), profiled(1))
    world.settle("Deployment", "cameras")
    serving_pod(world, "cameras-0")
    made = world.settle("Deployment", "cameras")
    digest = profiled(1)["status"]["profile"]["summaryDigest"]
    assert made["status"]["stable"]["profileDigest"] == digest
    assert server(world, "cameras-0")["spec"]["assigned"]["profileDigest"] == digest
    # The version is gone: a new server is told it all the same.
    del world.objects["ModelVersion", "shelf-1"]
    serving_pod(world, "cameras-1")
    world.settle("Deployment", "cameras")
    assert server(world, "cameras-1")["spec"]["assigned"]["profileDigest"] == digest


def test_a_version_without_a_profile_is_served_as_ever_and_gains_none() -> None:
    world = healthy(1)
    before = copy.deepcopy(server(world, "cameras-0")["spec"])
    assert "profileDigest" not in before["assigned"]
    # A profile is written with the verdict and never later; if it were, no server would move.
    world.objects["ModelVersion", "shelf-1"] = profiled(1) | {
        "metadata": world.objects["ModelVersion", "shelf-1"]["metadata"]
    }
    world.writes.clear()
    world.settle("Deployment", "cameras")
    assert server(world, "cameras-0")["spec"] == before
    assert "apply ModelServer" not in world.writes


def test_pods_do_not_depend_on_the_version() -> None:
    world = healthy()
    before = world.of("apps/Deployment")[0]
    world.add(version(2))
    world.settle("Deployment", "cameras")
    assert world.of("apps/Deployment")[0] is before


def test_servers_switch_in_rounds_of_max_unavailable() -> None:
    world = healthy(3)
    world.add(version(2))
    for done in range(3):
        made = world.settle("Deployment", "cameras")
        assert sorted(assigned(world).values()) == [1] * (2 - done) + [2] * (done + 1)
        assert made["status"]["phase"] == "Progressing"
        assert made["status"]["stable"]["version"] == 1
        load(world, next(n for n in sorted(assigned(world)) if _switching(world, n)))
    made = world.settle("Deployment", "cameras")
    assert made["status"]["phase"] == "Healthy"
    assert made["status"]["stable"]["version"] == 2
    assert "candidate" not in made["status"]


def _switching(world: World, name: str) -> bool:
    server = world.objects["ModelServer", name]
    return bool(server["status"]["loaded"]["version"] != server["spec"]["assigned"]["version"])


def test_a_percentage_is_of_all_servers() -> None:
    world = healthy(4, rollout={"maxUnavailable": "50%"})
    world.add(version(2))
    world.settle("Deployment", "cameras")
    assert sorted(assigned(world).values()) == [1, 1, 2, 2]


def test_a_server_that_is_down_uses_up_the_budget() -> None:
    world = healthy(3)
    world.objects["Pod", "cameras-2"]["status"]["conditions"][0]["status"] = "False"
    world.add(version(2))
    world.settle("Deployment", "cameras")
    assert assigned(world) == {"cameras-0": 1, "cameras-1": 1, "cameras-2": 2}


def test_a_version_that_triton_refuses_is_rolled_back_and_told() -> None:
    world = healthy(2)
    world.add(version(2))
    world.settle("Deployment", "cameras")
    refuse(world, "cameras-0", "failed to load 'shelf-2-network': bad graph")
    made = world.settle("Deployment", "cameras")
    assert assigned(world) == {"cameras-0": 1, "cameras-1": 1}
    assert made["status"]["phase"] == "Degraded"
    assert condition(made, "Stalled")["reason"] == "FailureBudgetExceeded"
    assert "it goes on with shelf-1" in made["status"]["message"]
    assert "bad graph" in made["status"]["message"]
    assert condition(made, "Available")["status"] == "True"
    assert made["status"]["history"][0]["outcome"] == "RolledBack"


def test_a_newer_version_supersedes_a_refused_one() -> None:
    world = healthy(2)
    world.add(version(2))
    world.settle("Deployment", "cameras")
    refuse(world, "cameras-0", "bad graph")
    world.settle("Deployment", "cameras")
    world.add(version(3))
    made = world.settle("Deployment", "cameras")
    assert assigned(world) == {"cameras-0": 3, "cameras-1": 1}
    assert made["status"]["stable"]["version"] == 1
    assert made["status"]["phase"] == "Progressing"


def test_pinning_back_moves_servers_back() -> None:
    world = healthy(1)
    world.add(version(2))
    world.settle("Deployment", "cameras")
    load(world, "cameras-0")
    world.settle("Deployment", "cameras")
    world.objects["Deployment", "cameras"]["spec"]["version"] = {"policy": "Pinned", "number": 1}
    world.settle("Deployment", "cameras")
    assert assigned(world) == {"cameras-0": 1}


def test_a_rollout_that_gets_no_further_is_rolled_back_after_its_deadline() -> None:
    world = healthy(2)
    world.add(version(2))
    world.settle("Deployment", "cameras")
    plan = world.plan("Deployment", "cameras", NOW)
    assert plan.requeue_after == pytest.approx(601)
    late = world.plan("Deployment", "cameras", NOW + timedelta(seconds=700))
    assert late.status is not None
    assert late.status["phase"] == "Degraded"
    assert "no server has switched for 600 s, 1 still have to" in late.status["message"]
    assert late.status["rejected"]["version"] == 2


def test_a_new_server_starts_with_the_stable_version() -> None:
    world = healthy(2)
    world.add(version(2))
    world.settle("Deployment", "cameras")
    serving_pod(world, "cameras-9", ready=False)
    world.settle("Deployment", "cameras")
    assert assigned(world)["cameras-9"] == 1


def test_settings_of_the_pipeline_reach_servers_in_rounds_too() -> None:
    world = healthy(2)
    world.objects["Deployment", "cameras"]["spec"]["pipeline"] = {"confidence": 0.6}
    world.settle("Deployment", "cameras")
    wanted = [s["spec"]["assigned"]["pipeline"]["confidence"] for s in world.of("ModelServer")]
    assert sorted(wanted) == [0.25, 0.6]


def test_model_servers_go_with_their_pods() -> None:
    world = healthy(2)
    del world.objects["Pod", "cameras-1"]
    world.settle("Deployment", "cameras")
    assert list(assigned(world)) == ["cameras-0"]


def test_scaled_to_zero_is_suspended_and_keeps_its_version() -> None:
    world = healthy(1)
    world.objects["Deployment", "cameras"]["spec"]["target"]["cluster"]["replicas"] = 0
    world.objects = {k: v for k, v in world.objects.items() if k[0] != "Pod"}
    made = world.settle("Deployment", "cameras")
    assert made["status"]["phase"] == "Suspended"
    assert made["status"]["stable"]["version"] == 1
    assert world.of("apps/Deployment")[0]["spec"]["replicas"] == 0


def test_a_refusal_to_wake_servers_is_told_until_it_is_over() -> None:
    world = healthy()
    obj = world.objects["Deployment", "cameras"]
    obj["spec"]["target"]["cluster"] |= {
        "replicas": 0,
        "autoscaling": {"maxReplicas": 3},
        "scaleToZero": {},
    }
    for name in list(world.objects):
        if name[0] in ("Pod", "ModelServer"):
            del world.objects[name]
    assert world.settle("Deployment", "cameras")["status"]["phase"] == "Suspended"
    words = "pod cameras-activator-1 may not scale Deployment cameras"
    obj["status"]["activator"] = {"refusal": words}
    made = world.settle("Deployment", "cameras")
    assert made["status"]["phase"] == "Degraded"
    assert words in made["status"]["message"]
    assert condition(made, "Ready")["reason"] == "ScalingRefused"
    assert condition(made, "Stalled")["status"] == "True"
    assert made["status"]["activator"] == {"refusal": words}, "it is the activator's field"
    del obj["status"]["activator"]
    assert world.settle("Deployment", "cameras")["status"]["phase"] == "Suspended"


def test_an_engine_is_chosen_on_nodes_of_its_gpu_type() -> None:
    engine = artifact(1, name="h100", format="tensorrt", gpuProduct="NVIDIA-H100")
    made = version(1)
    made["status"]["artifacts"].append(engine)
    selector = {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100"}}
    world = World(deployment(server={"scheduling": selector}), made)
    assert world.settle("Deployment", "cameras")["status"]["stable"]["artifact"] == "h100"
    made["status"]["artifacts"] = [engine]
    other = World(deployment(), made)
    plain = other.settle("Deployment", "cameras")
    assert condition(plain, "Ready")["reason"] == "NoFittingArtifact"


def test_a_gpu_reaches_triton_and_the_agent_knows_of_it() -> None:
    world = World(deployment(server={"resources": {"gpus": 1}}), version(1))
    world.settle("Deployment", "cameras")
    template = world.of("apps/Deployment")[0]["spec"]["template"]
    triton, agent = template["spec"]["containers"]
    assert triton["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in agent["resources"]["limits"]
    assert '"gpus":1' in template["metadata"]["annotations"]["modelyard.dev/run"]


def _agent_run(world: World) -> dict[str, Any]:
    """What the agents of the servers are told."""
    (workload,) = world.of("apps/Deployment")
    annotations = workload["spec"]["template"]["metadata"]["annotations"]
    run: dict[str, Any] = json.loads(annotations["modelyard.dev/run"])
    return run


@pytest.mark.parametrize(
    ("cache", "quota"),
    [(None, 4 * 2**30), ({"quota": "500M"}, 500_000_000)],
    ids=["default", "set"],
)
def test_servers_keep_within_the_quota_of_their_cache(cache: Any, quota: int) -> None:
    target = {"cluster": {"replicas": 1} | ({"cache": cache} if cache else {})}
    world = World(deployment(target=target), version(1))
    world.settle("Deployment", "cameras")
    assert _agent_run(world)["cacheBytes"] == quota


def test_copies_and_batches_reach_the_agent_and_say_nothing_where_they_are_left_out() -> None:
    def told(**server: Any) -> dict[str, Any]:
        world = World(version(1), deployment(server=server))
        world.settle("Deployment", "cameras")
        return _agent_run(world)

    run = told(instances=1, maxBatchSize=16)
    assert (run["instances"], run["maxBatchSize"]) == (1, 16)
    run = told(batching={"maxSize": 16, "preferredSizes": [8, 16], "maxDelay": "5ms"})
    assert (run["maxBatchSize"], run["preferredBatchSizes"]) == (16, [8, 16])
    assert run["maxBatchDelayMicroseconds"] == 5000
    assert not {"instances", "maxBatchSize", "preferredBatchSizes"} & set(told())
    assert "maxBatchDelayMicroseconds" not in told(batching={})


SKIPPED: dict[str, Any] = {"evaluation": {"skip": "pretrained on COCO"}}


@pytest.mark.parametrize("pinned", [False, True])
def test_a_version_that_was_not_evaluated_waits_for_somebody_to_allow_it(pinned: bool) -> None:
    policy: dict[str, Any] = {"version": {"policy": "Pinned", "number": 1}} if pinned else {}
    world = World(deployment(**policy), version(1, **SKIPPED))
    cameras = world.settle("Deployment", "cameras")
    assert condition(cameras, "Ready")["reason"] == "VersionUnvalidated"
    assert "set spec.allowUnvalidated" in cameras["status"]["message"]
    assert "pretrained on COCO" in cameras["status"]["message"]
    assert world.of("apps/Deployment") == []
    cameras["spec"]["allowUnvalidated"] = True
    cameras = world.settle("Deployment", "cameras")
    assert cameras["status"]["stable"]["modelVersion"] == "shelf-1"


def test_a_newer_version_that_was_not_evaluated_replaces_none_that_was() -> None:
    world = World(deployment(), version(1), version(2, **SKIPPED))
    world.settle("Deployment", "cameras")
    cameras = world.settle("Deployment", "cameras")
    assert cameras["status"]["stable"]["modelVersion"] == "shelf-1"
    assert "candidate" not in cameras["status"]


def test_nobody_rolls_back_to_a_version_that_was_not_evaluated() -> None:
    world = World(deployment(), version(1, **SKIPPED), version(2))
    cameras = world.settle("Deployment", "cameras")
    cameras["metadata"]["annotations"] = {"modelyard.dev/rollback": "1"}
    plan = world.reconcile("Deployment", "cameras")
    assert "shelf-1 was not evaluated" in plan.events[0].message
    cameras = world.settle("Deployment", "cameras")
    assert cameras["status"]["stable"]["modelVersion"] == "shelf-2"


def test_what_serves_goes_on_when_it_is_no_longer_allowed() -> None:
    world = World(deployment(allowUnvalidated=True), version(1, **SKIPPED))
    cameras = world.settle("Deployment", "cameras")
    cameras["spec"]["allowUnvalidated"] = False
    cameras = world.settle("Deployment", "cameras")
    assert cameras["status"]["stable"]["modelVersion"] == "shelf-1"
    assert "was not evaluated" in cameras["status"]["message"]
