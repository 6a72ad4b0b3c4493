"""What is served is identified by digest: a ModelVersion that is deleted and made again under its
name with other content is another version."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.core.fleet.projections import content_digest, key_of, name_in, version_in

from .sim import BAD, Sim, error_rate
from .world import artifact, version

THREE = ("a-1", "a-2", "a-3")
OTHER = 77
"""Digest number of the content that a version is made again with."""


def made_again(number: int, content: int = OTHER, phase: str = "Ready") -> dict[str, Any]:
    """A ModelVersion of the same name with other content."""
    one = version(number, phase=phase)
    one["metadata"]["uid"] = f"uid-again-{number}-{content}"
    if phase == "Ready":
        one["status"]["artifacts"] = [artifact(content)]
    return one


def held(sim: Sim) -> set[str]:
    """Digests that servers are assigned and answer with."""
    assert all(
        s["spec"]["assigned"]["digest"] == s["status"]["loaded"]["digest"]
        for s in sim.of("ModelServer")
    )
    return {s["spec"]["assigned"]["digest"] for s in sim.of("ModelServer")}


def digest(number: int) -> str:
    return str(artifact(number)["digest"])


def manifest(number: int) -> str:
    return str(artifact(number)["manifestDigest"])


def test_content_is_that_of_all_artifacts_in_whatever_order() -> None:
    one, other = artifact(1), artifact(2, name="engine", gpuProduct="T4")
    assert content_digest([one, other]) == content_digest([other, one])
    assert content_digest([one]) != content_digest([one, other])
    assert content_digest([one]) != content_digest([{**one, "manifestDigest": manifest(2)}])


def test_a_release_key_begins_with_the_name() -> None:
    key = key_of({"modelVersion": "shelf-1", "digest": digest(1), "manifestDigest": manifest(1)})
    assert name_in(key) == "shelf-1"
    assert version_in(key).startswith("shelf-1:")
    bare = key_of({"modelVersion": "shelf-1", "contentDigest": content_digest([artifact(1)])})
    assert key == bare, "what an older operator wrote of a version with one artifact"


@pytest.mark.parametrize("edge", [True, False])
@pytest.mark.parametrize("phase", ["Evaluating", "Rejected"])
def test_servers_that_come_later_get_the_digest_that_stable_has(edge: bool, phase: str) -> None:
    sim = Sim(*(THREE if edge else ()), edge=edge, replicas=3)
    sim.objects["ModelVersion", "shelf-1"] = made_again(1, phase=phase)
    if edge:
        sim.node("a-4")
    else:
        sim.spec["target"] = {"cluster": {"replicas": 4}}
    status = sim.run()
    assert len(sim.of("ModelServer")) == 4
    assert held(sim) == {digest(1)}
    assert status["stable"]["digest"] == digest(1)
    assert "shelf-1 was made again with other content: the servers go on with" in status["message"]
    assert digest(1)[:19] in status["message"]


def test_a_version_that_is_only_gone_changes_nothing() -> None:
    sim = Sim(*THREE)
    del sim.objects["ModelVersion", "shelf-1"]
    sim.node("a-4")
    status = sim.run()
    assert held(sim) == {digest(1)}
    assert "made again" not in status["message"]


def test_a_version_made_again_comes_by_a_rollout_with_its_stages() -> None:
    sim = Sim(*THREE, rollout={"steps": [{"nodes": 1, "pause": {}}]})
    sim.objects["ModelVersion", "shelf-1"] = made_again(1)
    status = sim.run()
    assert status["phase"] == "Paused"
    assert status["stable"]["digest"] == digest(1)
    assert status["candidate"]["digest"] == digest(OTHER)
    assert status["rollout"]["trigger"] == "ModelVersion shelf-1 was made again with other content"
    assert held(sim) == {digest(1), digest(OTHER)}
    sim.node("a-4")
    sim.run()
    assert sim.server("a-4")["spec"]["assigned"]["digest"] == digest(1)
    sim.ask(promote="1")
    status = sim.run()
    assert (status["phase"], held(sim)) == ("Healthy", {digest(OTHER)})
    assert "made again" not in status["message"]


def test_the_same_file_with_another_manifest_is_another_version() -> None:
    sim = Sim(*THREE)
    again = made_again(1)
    again["status"]["artifacts"] = [artifact(1, manifestDigest=manifest(OTHER))]
    sim.objects["ModelVersion", "shelf-1"] = again
    sim.operate()
    told = [s for s in sim.of("ModelServer") if manifest(OTHER) in s["spec"]["assigned"].values()]
    assert len(told) == 1
    assert sim.status["updatedReplicas"] == 0, "its agent has not switched yet"
    sim.run()
    assert {s["status"]["loaded"]["manifestDigest"] for s in sim.of("ModelServer")} == {
        manifest(OTHER)
    }


def test_a_bad_version_made_again_goes_back_to_the_digest_that_served() -> None:
    rollout = {"steps": [{"nodes": 1}], "analysis": error_rate()}
    sim = Sim(*THREE, rollout=rollout)
    sim.figures[1] = BAD
    sim.objects["ModelVersion", "shelf-1"] = made_again(1)
    status = sim.run()
    assert status["phase"] == "Degraded"
    assert held(sim) == {digest(1)}
    said = f"shelf-1 ({digest(OTHER)[:19]}…) was rolled back to shelf-1 ({digest(1)[:19]}…)"
    assert said in status["message"]
    assert status["rejected"]["contentDigest"] == content_digest([artifact(OTHER)])
    # A third one is neither of them.
    sim.figures.clear()
    sim.objects["ModelVersion", "shelf-1"] = made_again(1, 78)
    status = sim.run()
    assert (status["phase"], held(sim)) == ("Healthy", {digest(78)})
    contents = [content_digest([artifact(n)]) for n in (78, OTHER)]
    assert [one["contentDigest"] for one in status["history"]] == contents


def test_a_rejected_version_made_again_is_tried() -> None:
    sim = Sim(*THREE)
    sim.unloadable.add(2)
    sim.add(version(2))
    assert sim.run()["rejected"]["version"] == 2
    sim.unloadable.clear()
    assert sim.run()["phase"] == "Degraded"
    sim.objects["ModelVersion", "shelf-2"] = made_again(2)
    status = sim.run()
    assert (status["phase"], held(sim)) == ("Healthy", {digest(OTHER)})


def test_a_candidate_made_again_is_superseded_by_its_namesake() -> None:
    sim = Sim(*THREE, rollout={"steps": [{"nodes": 1, "pause": {}}]})
    sim.add(version(2))
    sim.run()
    sim.objects["ModelVersion", "shelf-2"] = made_again(2)
    status = sim.run()
    assert status["history"][0]["outcome"] == "Superseded"
    assert status["phase"] == "Paused"
    assert held(sim) == {digest(1), digest(OTHER)}


def test_going_back_means_the_version_of_then() -> None:
    sim = Sim(*THREE)
    sim.add(version(2))
    sim.run()
    sim.ask(rollback="1@a")
    sim.run()
    assert held(sim) == {digest(1)}
    # The version that was left is mended under its name: it is wanted again, step by step.
    sim.spec["rollout"] = {"steps": [{"nodes": 1, "pause": {}}]}
    sim.objects["ModelVersion", "shelf-2"] = made_again(2)
    status = sim.run()
    assert status["phase"] == "Paused"
    assert "override" not in status
    assert held(sim) == {digest(1), digest(OTHER)}


def test_a_version_gone_back_to_that_is_made_again_is_not_what_somebody_went_back_to() -> None:
    sim = Sim(*THREE)
    sim.add(version(2))
    sim.run()
    sim.ask(rollback="1@a")
    sim.run()
    sim.spec["rollout"] = {"steps": [{"nodes": 1, "pause": {}}]}
    sim.objects["ModelVersion", "shelf-1"] = made_again(1)
    sim.run()
    assert digest(OTHER) not in held(sim), "nothing comes without its stages"


def _engines(number: int) -> list[dict[str, Any]]:
    return [
        artifact(number, name=f"engine-{kind.lower()}", format="tensorrt", gpuProduct=kind)
        | {"digest": digest(number + at), "manifestDigest": manifest(number + at)}
        for at, kind in enumerate(("T4", "Orin"))
    ]


def test_nodes_with_other_hardware_keep_their_own_artifact() -> None:
    sim = Sim()
    sim.objects["ModelVersion", "shelf-1"]["status"]["artifacts"] = _engines(10)
    del sim.mdep["status"]
    product = "nvidia.com/gpu.product"
    for name, kind in (("a-1", "T4"), ("a-2", "Orin")):
        sim.node(name, **{product: kind})
    assert sim.run()["phase"] == "Healthy"
    sim.objects["ModelVersion", "shelf-1"] = made_again(1, phase="Evaluating")
    for name, kind in (("a-3", "T4"), ("a-4", "Orin")):
        sim.node(name, **{product: kind})
    sim.run()
    found = {n: sim.server(n)["spec"]["assigned"]["digest"] for n in ("a-1", "a-2", "a-3", "a-4")}
    t4, orin = digest(10), digest(11)
    assert found == {"a-1": t4, "a-2": orin, "a-3": t4, "a-4": orin}
    assert sim.status["updatedReplicas"] == 4


def test_a_node_without_a_gpu_gets_the_portable_artifact_that_stable_names() -> None:
    sim = Sim()
    two = version(2)
    two["status"]["artifacts"] += _engines(10)[:1]
    sim.add(two)
    sim.node("a-1", **{"nvidia.com/gpu.product": "T4"})
    sim.run()
    assert held(sim) == {digest(10)}
    sim.objects["ModelVersion", "shelf-2"] = made_again(2, phase="Evaluating")
    sim.node("a-2")
    sim.node("a-3", **{"nvidia.com/gpu.product": "L4"})
    del sim.objects["ModelVersion", "shelf-1"]
    sim.run()
    found = {name: sim.server(name)["spec"]["assigned"]["digest"] for name in ("a-1", "a-2", "a-3")}
    assert found == {"a-1": digest(10), "a-2": digest(2), "a-3": digest(2)}


def test_what_an_operator_wrote_that_noted_no_contents_is_read_as_what_it_was() -> None:
    sim = Sim(*THREE)
    sim.mdep["status"]["stable"].pop("contentDigest")
    for server in sim.of("ModelServer"):
        server["spec"]["assigned"].pop("contentDigest")
        server["status"]["loaded"].pop("contentDigest")
        server["status"]["loaded"].pop("manifestDigest")
    status = sim.run()
    assert status["phase"] == "Healthy"
    assert status["stable"]["contentDigest"] == content_digest([artifact(1)])
    assert status.get("history") is None
