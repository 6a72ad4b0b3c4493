"""What is read out of ModelServers, Deployments and the pod's environment."""

from __future__ import annotations

import json

import pytest

from modelyard.contract.naming import edge_server_name
from modelyard.workloads.agent.settings import CACHE_BYTES, SettingsError, read_settings
from modelyard.workloads.agent.watch import Assigned, read_assignment, read_stable

DIGEST = f"sha256:{'a' * 64}"
VERSION = {
    "modelVersion": "m-1",
    "version": 1,
    "artifact": "onnx",
    "format": "onnx",
    "digest": DIGEST,
    "manifestDigest": DIGEST,
}


def server(revision: int = 1, uid: str = "u", **changes: object) -> dict:
    return {
        "metadata": {"generation": 3, "uid": uid, "resourceVersion": str(revision)},
        "spec": {"assigned": {**VERSION, **changes}},
    }


def test_fields_of_a_newer_operator_are_left_alone():
    wanted = read_assignment(server(shadow="m-2", pipeline={"confidence": 0.5, "newer": True}))
    assert wanted.assignment.model_version == "m-1"
    assert wanted.assignment.pipeline.confidence == 0.5
    assert wanted.generation == 3


def test_assignment_that_cannot_be_read_says_why():
    wanted = read_assignment(server(digest="md5:1"))
    assert wanted.assignment is None
    assert "digest" in wanted.problem
    assert read_assignment({"metadata": {}, "spec": {}}).assignment is None


def test_stable_version_is_served_with_the_settings_of_the_run_spec():
    wanted = read_stable({"spec": {"pipeline": {"confidence": 0.7}}, "status": {"stable": VERSION}})
    assert wanted.assignment.pipeline.confidence == 0.7
    assert wanted.generation is None
    assert read_stable({}) is None
    assert read_stable({"status": {"stable": {"version": 1}}}).assignment is None


def test_late_news_do_not_undo_newer_ones():
    assigned = Assigned()
    assigned.see(server(revision=20, version=2))
    assigned.see(server(revision=9, version=1))
    assert assigned.wanted.assignment.version == 2
    # A new object of the same name starts anew.
    assigned.see(server(revision=10, uid="v", version=1))
    assert assigned.wanted.assignment.version == 1


def test_deleted_modelserver_leaves_the_assignment():
    assigned = Assigned()
    assigned.see(server())
    assigned.see(None)
    assert assigned.server is None
    assert assigned.wanted.assignment.version == 1


def test_same_assignment_again_wakes_nobody():
    assigned = Assigned()
    assigned.see(server(revision=1))
    assigned.changed.clear()
    assigned.see(server(revision=2))
    assert not assigned.changed.is_set()


def test_versions_to_stage_and_to_shadow_are_read_and_waked_for():
    assigned = Assigned()
    assigned.see(server())
    assert not assigned.staged_changed.is_set()
    one = server(revision=2)
    one["spec"] |= {"staged": VERSION, "shadow": {"version": VERSION, "share": 0.1, "newer": 1}}
    assigned.see(one)
    assert assigned.staged.version == 1
    assert (assigned.shadow.version.version, assigned.shadow.share) == (1, 0.1)
    assert assigned.staged_changed.is_set()
    assert assigned.shadow_changed.is_set()
    two = server(revision=3)
    two["spec"] |= {"staged": {**VERSION, "digest": "md5:1"}, "shadow": None}
    assigned.see(two)
    assert (assigned.staged, assigned.shadow) == (None, None)


def test_other_work_waits_from_the_moment_that_another_version_is_wanted():
    assigned = Assigned()
    assigned.see(server(revision=1))
    assigned.idle.set()
    assigned.see({**server(revision=2), "metadata": {**server(2)["metadata"], "generation": 4}})
    assert assigned.idle.is_set()
    assigned.see(server(revision=3, version=2))
    assert not assigned.idle.is_set()


def test_pod_that_reports_is_the_one_in_the_spec():
    assigned = Assigned()
    assert not assigned.reported_by("p")
    one = server()
    one["spec"]["podName"] = "p"
    assigned.see(one)
    assert assigned.reported_by("p")
    assert not assigned.reported_by("q")


RUN = {
    "kind": "agent",
    "namespace": "ns",
    "deployment": "d",
    "modelLine": "m",
    "store": {"url": "s3://b"},
}


def environment(tmp_path, run: object = RUN, **changes: str) -> dict[str, str]:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run))
    return {"MODELYARD_RUN": str(path), "POD_NAME": "p", **changes}


def test_settings_come_from_the_environment_and_the_run_spec(tmp_path):
    settings = read_settings(
        environment(tmp_path, POD_NAMESPACE="other", MODELYARD_CACHE_BYTES="1000")
    )
    assert (settings.pod_name, settings.namespace) == ("p", "other")
    assert settings.cache_bytes == 1000
    assert settings.run.deployment == "d"


def test_edge_server_is_named_by_its_node_others_by_their_pod(tmp_path):
    edge = {**RUN, "edge": True}
    one = read_settings(environment(tmp_path, edge, NODE_NAME="shop-7.example.com"))
    assert one.server_name == edge_server_name("d", "shop-7.example.com")
    assert read_settings(environment(tmp_path, NODE_NAME="n")).server_name == "p"


def test_quota_is_the_run_specs_unless_the_environment_has_one(tmp_path):
    run = {**RUN, "cacheBytes": 500}
    assert read_settings(environment(tmp_path, run)).cache_bytes == 500
    more = environment(tmp_path, run, MODELYARD_CACHE_BYTES="700")
    assert read_settings(more).cache_bytes == 700
    assert read_settings(environment(tmp_path)).cache_bytes == CACHE_BYTES


@pytest.mark.parametrize(
    ("run", "changes", "words"),
    [
        (RUN, {"POD_NAME": ""}, "POD_NAME is not set"),
        ({**RUN, "edge": True}, {}, "NODE_NAME is not set"),
        (RUN, {"MODELYARD_RUN": "/nowhere/run.json"}, "/nowhere/run.json"),
        ({**RUN, "modelLine": 5}, {}, "modelLine"),
        ({"kind": "nothing"}, {}, "cannot use the run spec"),
        (RUN, {"MODELYARD_CACHE_BYTES": "4G"}, "MODELYARD_CACHE_BYTES='4G'"),
    ],
)
def test_pod_that_is_not_set_up_gets_a_clear_error(tmp_path, run, changes, words):
    with pytest.raises(SettingsError, match=words):
        read_settings(environment(tmp_path, run, **changes))
