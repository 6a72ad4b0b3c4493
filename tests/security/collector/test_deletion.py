"""Attacks on what is in use: nobody deletes it, by whatever way round.

Real: API server, the chart's admission policies, Kubernetes' garbage collector and namespace
controller. Played: the operator, whose `status.usedBy` the administrator writes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ...cluster.conftest import Cluster, thing
from ...cluster.waiting import until
from ...kinds import EXAMPLES, PROTECTED, example
from .conftest import SPACE

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("security-collector")]

OPERATOR = "system:serviceaccount:modelyard-system:modelyard-operator"
RESOURCES = {"Dataset": "datasets.modelyard.dev", "ModelVersion": "modelversions.modelyard.dev"}


def used(chart: Cluster, kind: str, stem: str, namespace: str = SPACE, **metadata: Any) -> str:
    """An object that says it is in use; its name."""
    name, spec = example(kind, stem)
    one = thing(kind, name, namespace, spec)
    one["metadata"] |= metadata
    chart.create(one)
    chart.set_status(RESOURCES[kind], namespace, name, {"usedBy": ["Deployment cameras"]})
    return name


def there(chart: Cluster, kind: str, name: str) -> bool:
    return not chart.run("kubectl", "-n", SPACE, "get", RESOURCES[kind], name).returncode


def config_map(chart: Cluster, name: str) -> dict[str, Any]:
    """A ConfigMap of a user; an ownerReference to it."""
    chart.kubectl("-n", SPACE, "create", "configmap", name)
    uid = chart.get("configmap", SPACE, name)["metadata"]["uid"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


@pytest.mark.parametrize("kind", PROTECTED)
@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_an_owner_that_is_deleted_takes_nothing_in_use_with_it(
    chart: Cluster, kind: str, cascade: str
) -> None:
    stem = f"owned-{cascade}"
    name = used(chart, kind, stem)
    owner = config_map(chart, f"trick-{kind.lower()}-{cascade}")
    patch = json.dumps({"metadata": {"ownerReferences": [owner]}})
    chart.kubectl("-n", SPACE, "patch", RESOURCES[kind], name, "--type=merge", "-p", patch)
    # Not in use, and so the sign that the garbage collector has come by.
    free, spec = example(kind, f"{stem}-free")
    other = thing(kind, free, SPACE, spec)
    other["metadata"]["ownerReferences"] = [owner | {"blockOwnerDeletion": False}]
    chart.create(other)
    chart.kubectl(
        *("-n", SPACE, "delete", "configmap", owner["name"]),
        *(f"--cascade={cascade}", "--wait=false"),
    )
    until(lambda: not there(chart, kind, free), what="the garbage collector")
    assert there(chart, kind, name)
    assert "deletionTimestamp" not in chart.get(RESOURCES[kind], SPACE, name)["metadata"]
    # It goes once nothing uses it: the collector was refused, not stopped.
    chart.set_status(RESOURCES[kind], SPACE, name, {"usedBy": []})
    until(lambda: not there(chart, kind, name), 60, "the garbage collector's next try")


def test_an_owner_that_never_was_takes_nothing_in_use_with_it(chart: Cluster) -> None:
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "0-1-2"}
    name, spec = example("ModelVersion", "haunted")
    one = thing("ModelVersion", name, SPACE, spec)
    chart.create(one)
    chart.set_status("mv", SPACE, name, {"usedBy": ["Deployment cameras"]})
    patch = json.dumps({"metadata": {"ownerReferences": [ghost]}})
    chart.kubectl("-n", SPACE, "patch", "mv", name, "--type=merge", "-p", patch)
    free, spec = example("ModelVersion", "haunted-free")
    other = thing("ModelVersion", free, SPACE, spec)
    other["metadata"]["ownerReferences"] = [ghost]
    chart.create(other)
    until(lambda: not there(chart, "ModelVersion", free), what="the garbage collector")
    assert there(chart, "ModelVersion", name)


@pytest.mark.parametrize("kind", PROTECTED)
def test_nobody_but_the_operator_says_what_is_in_use(chart: Cluster, kind: str) -> None:
    name = used(chart, kind, "denied")
    plural = RESOURCES[kind]
    role = f"status-{kind.lower()}"
    chart.kubectl("create", "clusterrole", role, "--verb=*", f"--resource={plural},{plural}/status")
    chart.kubectl(
        *("-n", SPACE, "create", "rolebinding", role, f"--clusterrole={role}", "--user=eve")
    )
    patch = ("-n", SPACE, "patch", plural, name, "--subresource=status", "--type=merge")
    empty = ("-p", json.dumps({"status": {"usedBy": None}}))
    said = until(
        lambda: (
            (found := chart.run("kubectl", *patch, *empty, "--as=eve")).returncode
            and "cannot patch resource" not in found.stderr
            and found.stderr
        ),
        what="eve's rights",
    )
    assert "only the Modelyard operator writes it, and eve is not it" in said
    assert "is in use by" in chart.refused("-n", SPACE, "delete", plural, name, "--as=eve")
    # Not by way of the object itself either, nor by the metadata of its deletion.
    chart.kubectl("-n", SPACE, "patch", plural, name, "--type=merge", *empty, "--as=eve")
    chart.kubectl("-n", SPACE, "label", plural, name, "app=none", "--overwrite", "--as=eve")
    for way in ("--cascade=orphan", "--cascade=foreground", "--force", "--grace-period=0"):
        assert "in use by" in chart.refused("-n", SPACE, "delete", plural, name, way, "--as=eve")
    assert chart.get(plural, SPACE, name)["status"]["usedBy"] == ["Deployment cameras"]
    chart.kubectl(*patch, *empty, f"--as={OPERATOR}", "--as-group=system:masters")


def test_a_namespace_takes_users_and_used_with_it(chart: Cluster) -> None:
    chart.kubectl("create", "namespace", "leaving")
    used(chart, "ModelVersion", "going", "leaving")
    used(chart, "Dataset", "going", "leaving")
    chart.create(thing("Deployment", "cameras", "leaving", EXAMPLES["Deployment"]))
    chart.kubectl("delete", "namespace", "leaving", "--wait=false")
    until(
        lambda: chart.run("kubectl", "get", "namespace", "leaving").returncode,
        60,
        "the namespace to go",
    )
