"""What is read out of ModelServers, Deployments and the pod's environment."""

from __future__ import annotations

import json

import pytest

from modelyard.workloads.agent.settings import SettingsError, read_settings
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


@pytest.mark.parametrize(
    ("run", "changes", "words"),
    [
        (RUN, {"POD_NAME": ""}, "POD_NAME is not set"),
        (RUN, {"MODELYARD_RUN": "/nowhere/run.json"}, "/nowhere/run.json"),
        ({**RUN, "modelLine": 5}, {}, "modelLine"),
        ({"kind": "nothing"}, {}, "cannot use the run spec"),
        (RUN, {"MODELYARD_CACHE_BYTES": "4G"}, "MODELYARD_CACHE_BYTES='4G'"),
    ],
)
def test_pod_that_is_not_set_up_gets_a_clear_error(tmp_path, run, changes, words):
    with pytest.raises(SettingsError, match=words):
        read_settings(environment(tmp_path, run, **changes))
