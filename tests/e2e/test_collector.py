"""The store's collector in its CronJob's pod: on the kubelet, with the chart's account, key and
NetworkPolicies, on what the demo has stored.

What it collects, and what it never does: tests/workloads/store, tests/security/collector.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from modelyard.cli.kube import connect
from modelyard.cli.storeaccess import open_cluster_store
from modelyard_local.demo.environment import SYSTEM_NAMESPACE
from modelyard_local.demo.objects import Objects

from .conftest import NAMESPACE, Demo, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2700)]

CRONJOB = "modelyard-collector"
JOB = "collect-now"


@pytest.fixture
def system(demo: Demo) -> Iterator[Objects]:
    """The release's namespace; the test's Job is removed afterwards."""
    found = Objects(demo.objects.kubeconfig, SYSTEM_NAMESPACE)
    yield found
    found.kubectl("delete", "job", JOB, "--ignore-not-found", "--cascade=foreground")


def report(demo: Demo, system: Objects) -> dict[str, Any]:
    """What the collector's pod says of the demo's namespace, after a run of now."""
    system.kubectl("create", "job", f"--from=cronjob/{CRONJOB}", JOB)

    def ended() -> str:
        status = json.loads(system.kubectl("get", "job", JOB, "-o", "json"))["status"]
        true = [c["type"] for c in status.get("conditions") or () if c["status"] == "True"]
        return next((one for one in true if one in ("Complete", "Failed")), "")

    verdict = until(ended, 60, "the collector's pod to end")
    said = system.kubectl("logs", f"job/{JOB}")
    assert verdict == "Complete", said
    stored = json.loads(system.kubectl("get", "configmap", CRONJOB, "-o", "json"))
    whole = json.loads(stored["data"]["report.json"])
    assert whole["dryRun"] is True
    (entry,) = [one for one in whole["namespaces"] if one["namespace"] == NAMESPACE]
    return dict(entry)


def test_the_cronjobs_pod_knows_what_the_demo_needs_and_what_nobody_does(
    demo: Demo, system: Objects
) -> None:
    waste = os.urandom(64 * 1024)
    cluster = connect(demo.objects.kubeconfig)
    with open_cluster_store(cluster, NAMESPACE) as store:
        digest = store.put_bytes(waste)
        entry = report(demo, system)
        assert entry["problem"] == ""
        assert (entry["missingBlobs"], entry["missing"]) == (0, [])
        assert entry["unfinishedUploads"] is not None, "it may list uploads"
        # Unneeded, but young: others' trainings may be about to name theirs.
        assert len(waste) <= entry["unneededBytes"] < entry["bytes"]
        assert (entry["dueBytes"], entry["deletedBytes"]) == (0, 0)
        # By the digests that the objects name, all is there.
        served = demo.objects.get("ModelVersion", "digits-2")
        assert served is not None
        for artifact in served["status"]["artifacts"]:
            assert store.exists(artifact["digest"])
        assert store.exists(digest)
        store.delete(digest)
    shown = subprocess.run(
        [sys.executable, "-m", "modelyard.cli.main", "store", "usage"],
        env={**os.environ, "KUBECONFIG": str(demo.objects.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert shown.returncode == 0, shown.stderr
    assert [line for line in shown.stdout.splitlines() if line.startswith(f"{NAMESPACE} ")]
    assert "dry run: nothing was deleted" in shown.stdout
