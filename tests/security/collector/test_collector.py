"""The collector as its CronJob runs it: a process with the chart's account, and no other right.

Real: API server, the chart's RBAC, the service account's token, the process, a directory store, the
command line. Played: the operator's statuses; the age of blobs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from modelyard.contract.paths import COLLECTOR_STATE, blob_key

from ...cluster.conftest import Cluster, thing
from ...kinds import example
from .conftest import DAY, NAME, SPACE, SYSTEM, Yard

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("security-collector")]

ACCOUNT = f"system:serviceaccount:{SYSTEM}:{NAME}"


def test_it_removes_what_no_object_mentions(yard: Yard) -> None:
    cluster = yard.cluster
    artifact = yard.put(b"artifact")
    manifest = yard.put(json.dumps({"file": {"digest": artifact}}).encode())
    holdout, waste = yard.put(b"holdout"), yard.put(b"waste")
    name, spec = example("ModelVersion", "kept")
    cluster.create(thing("ModelVersion", name, SPACE, spec))
    found = {
        "name": "onnx",
        "format": "onnx",
        "digest": artifact,
        "manifestDigest": manifest,
        "sizeBytes": 8,
    }
    cluster.set_status("mv", SPACE, name, {"artifacts": [found]})
    other, spec = example("ModelVersion", "pinned")
    spec["dataset"] = {**spec["dataset"], "digest": holdout}
    cluster.create(thing("ModelVersion", other, SPACE, spec))

    code, report = yard.collect()
    (entry,) = report["namespaces"]
    assert (code, report["dryRun"], entry["problem"]) == (0, True, "")
    assert (entry["blobs"], entry["unneededBytes"], entry["dueBytes"]) == (4, len(b"waste"), 0)
    # As a sender leaves it that is killed: tests/workloads/store/test_abandoned_uploads.py.
    partial = yard.folder / f"{blob_key(waste)}#1"
    partial.write_bytes(b"was")
    then = time.time() - 30 * DAY
    os.utime(partial, (then, then))
    yard.pretend(days=8)
    _, report = yard.collect()
    (entry,) = report["namespaces"]
    assert entry["dueBytes"] == len(b"waste")
    assert (entry["unfinishedUploads"], entry["dueUploads"]) == (1, 1)
    assert partial.exists()
    assert yard.store.exists(waste)
    _, report = yard.collect(MODELYARD_COLLECTOR_DELETE="true")
    assert report["namespaces"][0]["deletedBytes"] == len(b"waste")
    assert report["namespaces"][0]["abortedUploads"] == 1
    assert not yard.store.exists(waste)
    assert not partial.exists()
    for digest in (artifact, manifest, holdout):
        assert yard.store.intact(digest)


def test_it_deletes_nothing_where_it_may_not_see_everything(yard: Yard) -> None:
    """A namespace whose RoleBinding is gone, as after a downgrade: no object is not no need."""
    waste = yard.put(b"other waste")
    yard.collect()
    yard.pretend(days=8)
    binding = yard.cluster.get("rolebinding", SPACE, f"{NAME}-objects")
    yard.cluster.kubectl("-n", SPACE, "delete", "rolebinding", f"{NAME}-objects")
    try:
        code, report = yard.collect(MODELYARD_COLLECTOR_DELETE="true")
    finally:
        for field in ("uid", "resourceVersion", "creationTimestamp"):
            binding["metadata"].pop(field, None)
        yard.cluster.create(binding)
    assert code == 1
    assert "is forbidden" in report["namespaces"][0]["problem"]
    assert yard.store.exists(waste)


def test_its_account_may_do_nothing_else(chart: Cluster) -> None:
    def may(*what: str) -> bool:
        return not chart.run("kubectl", "auth", "can-i", *what, f"--as={ACCOUNT}").returncode

    assert may("list", "modelversions.modelyard.dev", "-n", SPACE)
    assert may("patch", f"configmaps/{NAME}", "-n", SYSTEM)
    for what in (
        ("get", "secrets", "-n", SPACE),
        ("get", "secrets", "-n", SYSTEM),
        ("delete", "modelversions.modelyard.dev", "-n", SPACE),
        ("patch", "modelversions.modelyard.dev/status", "-n", SPACE),
        ("patch", "configmaps/other", "-n", SYSTEM),
        ("patch", "configmaps", "-n", SPACE),
        ("list", "pods", "-n", "kube-system"),
        ("list", "namespaces"),
        ("create", "pods", "-n", SYSTEM),
    ):
        assert not may(*what), what


@pytest.fixture
def modelyard(chart: Cluster) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "modelyard.cli.main", "store", *arguments],
            env=os.environ | {"KUBECONFIG": str(chart.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_the_command_line_collects_and_finds_damage(
    yard: Yard, modelyard: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    at = ("--store", f"{yard.url}/{SPACE}", "-n", SPACE)
    waste = yard.put(b"waste of the command line")
    said = modelyard("verify", *at)
    # Objects of the other tests need blobs of other stores.
    assert f"{waste}: damaged" not in said.stdout
    (yard.folder / blob_key(waste)).write_bytes(b"waste of the command LINE")
    said = modelyard("verify", *at)
    assert said.returncode == 1
    assert f"{waste}: damaged (25 B)" in said.stdout
    assert "are damaged or missing" in said.stderr
    then = time.time() - 30 * DAY
    os.utime(yard.folder / blob_key(waste), (then, then))

    said = modelyard("gc", *at)
    assert said.returncode == 0, said.stderr
    assert "not needed by any object: 25 B" in said.stdout
    yard.pretend(days=8)
    assert "nothing was deleted: pass --delete" in modelyard("gc", *at).stdout
    assert yard.store.exists(waste)
    assert "deleted: 25 B (1 keys)" in modelyard("gc", "--delete", *at).stdout
    assert not yard.store.exists(waste)

    yard.collect()
    said = modelyard("usage")
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[1].startswith(f"{SPACE} ")
    assert "dry run: nothing was deleted" in said.stdout
    assert json.loads(modelyard("usage", "-o", "json").stdout)["namespaces"]
    assert "takes" in modelyard("adopt", *at).stdout
    assert not (yard.folder / COLLECTOR_STATE).exists()
