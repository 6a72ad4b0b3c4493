"""What `kubectl get`, `explain` and `scale` show of our kinds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.api import ALL_KINDS

from ...kinds import example

pytestmark = pytest.mark.cluster
NS = "work"


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line]


@pytest.mark.parametrize(
    ("short", "columns"),
    [
        ("dset", "NAME PHASE IMAGES CLASSES AGE"),
        ("tj", "NAME PHASE EPOCH PROGRESS ETA MAP50-95 VERSION AGE"),
        ("mv", "NAME LINE VERSION PHASE MAP50 MAP50-95 AGE"),
        ("mdep", "NAME LINE PHASE STABLE CANDIDATE DESIRED READY UPDATED URL AGE"),
        ("ms", "NAME DEPLOYMENT ASSIGNED SERVING PHASE REQUESTS AGE"),
    ],
)
def test_columns(api: Any, valid: Any, short: str, columns: str) -> None:
    kind = next(info.kind for info in ALL_KINDS if info.short == short)
    name, spec = example(kind, "shown")
    api.create(valid(kind, name, spec))
    assert _rows(api.kubectl("-n", NS, "get", short, name))[0] == columns.split()


def test_columns_show_the_figures(api: Any, valid: Any) -> None:
    api.create(valid("TrainingJob", "running"))
    progress = {"epoch": 3, "epochs": 12, "percent": 25, "metrics": {"mAP50to95": 0.31}}
    status = {"phase": "Running", "progress": progress, "message": "epoch 3 of 12"}
    api.set_status("tj", NS, "running", status)
    row = api.kubectl("-n", NS, "get", "tj", "running", "--no-headers").split()
    assert row[:4] == ["running", "Running", "3", "25"]
    assert "0.31" in row
    assert "epoch 3 of 12" in api.kubectl("-n", NS, "get", "tj", "running", "-o", "wide")


def test_one_name_gets_all_kinds(api: Any, valid: Any) -> None:
    api.create(valid("Dataset", "everything"), valid("Deployment", "everything"))
    said = api.kubectl("-n", NS, "get", "modelyard", "-o", "name")
    assert "dataset.modelyard.dev/everything" in said
    assert "deployment.modelyard.dev/everything" in said


def test_explain_reads_well(api: Any) -> None:
    said = " ".join(api.kubectl("explain", "mdep.spec.rollout").split())
    assert "How a new version replaces the one that serves." in said
    assert "that switch at the same time" in said
    for short in ("dset", "tj", "mv", "mdep", "ms"):
        explained = api.kubectl("explain", f"{short}.spec", "--recursive=false")
        fields = explained.split("FIELDS:")[1]
        assert "<no description>" not in fields, short


def test_apps_deployments_keep_their_name(api: Any) -> None:
    said = api.kubectl("api-resources", "--api-group=modelyard.dev", "--no-headers")
    shorts = {row[1] for row in _rows(said)}
    assert shorts == {"dset", "tj", "mv", "mdep", "ms"}
    assert "GROUP:      apps" in api.kubectl("explain", "deployments")


def test_scale(api: Any, valid: Any) -> None:
    api.create(valid("Deployment", "scaled"))
    api.set_status("mdep", NS, "scaled", {"replicas": 1, "selector": "a=b"})
    api.kubectl("-n", NS, "scale", "mdep", "scaled", "--replicas=4")
    assert api.get("mdep", NS, "scaled")["spec"]["target"]["cluster"]["replicas"] == 4
    path = f"/apis/modelyard.dev/v1alpha1/namespaces/{NS}/deployments/scaled/scale"
    scale = json.loads(api.kubectl("get", "--raw", path))
    assert scale["spec"]["replicas"] == 4
    assert scale["status"] == {"replicas": 1, "selector": "a=b"}
