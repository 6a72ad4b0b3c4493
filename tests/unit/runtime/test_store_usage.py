"""The collector's report as metrics of the operator."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.kube.errors import NotFound
from modelyard.runtime.metrics import Metrics
from modelyard.runtime.storeusage import StoreUsage
from modelyard.store.collector import Policy, Report
from modelyard.workloads.collect.report import document
from modelyard.workloads.collect.settings import read

ENVIRONMENT = {
    "MODELYARD_STORE__URL": "s3://modelyard-{namespace}",
    "MODELYARD_NAMESPACES": "shop,lab",
    "MODELYARD_COLLECTOR_GRACE_HOURS": "168",
    "MODELYARD_COLLECTOR_REPORT": "modelyard-system/modelyard-collector",
    "MODELYARD_COLLECTOR_CAPACITY": "20Gi",
}
REPORTS = {
    "shop": Report(
        bytes=700,
        blobs=3,
        unneeded_bytes=60,
        due_bytes=50,
        uploads=2,
        missing=(("sha256:1", "x"),),
    ),
    "lab": Report(problem="the API server cannot be reached"),
}


class OneConfigMap:
    """An API server with the collector's ConfigMap, in place of kube.api.Api."""

    def __init__(self, data: dict[str, str] | None) -> None:
        self.data = data

    async def get(self, kind: Any, namespace: str, name: str) -> dict[str, Any]:
        assert (kind.plural, namespace, name) == ("configmaps", "system", "collector")
        if self.data is None:
            raise NotFound("no such ConfigMap")
        return {"data": self.data}


def shown(metrics: Metrics) -> dict[str, float]:
    lines = metrics.render().decode().splitlines()
    found = [line.rsplit(" ", 1) for line in lines if line.startswith("modelyard_store_")]
    return {name: float(value) for name, value in found}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def usage(api: Any, metrics: Metrics) -> StoreUsage:
    made = StoreUsage(api, "system", "collector")
    made.register(metrics)
    return made


async def test_usage_by_namespace_is_shown(metrics: Metrics) -> None:
    text = document(REPORTS, read(ENVIRONMENT), datetime(2026, 11, 28, tzinfo=UTC))
    await usage(OneConfigMap({"report.json": text}), metrics).read()
    found = shown(metrics)
    assert found['modelyard_store_bytes{object_namespace="shop"}'] == 700
    assert found['modelyard_store_due_bytes{object_namespace="shop"}'] == 50
    assert found['modelyard_store_missing_blobs{object_namespace="shop"}'] == 1
    assert found['modelyard_store_unfinished_uploads{object_namespace="shop"}'] == 2
    assert 'modelyard_store_unfinished_uploads{object_namespace="lab"}' not in found
    assert found['modelyard_store_collector_problem{object_namespace="lab"}'] == 1
    assert found['modelyard_store_collector_problem{object_namespace="shop"}'] == 0
    assert found["modelyard_store_capacity_bytes"] == 20 << 30
    assert found["modelyard_store_used_bytes"] == 700
    assert found["modelyard_store_collected_timestamp_seconds"] == 1795824000


@pytest.mark.parametrize("data", [None, {}, {"report.json": "{"}])
async def test_without_a_report_nothing_is_shown(
    metrics: Metrics, data: dict[str, str] | None
) -> None:
    await usage(OneConfigMap(data), metrics).read()
    assert shown(metrics) == {}


async def test_a_report_that_cannot_be_read_keeps_the_last_one(metrics: Metrics) -> None:
    text = document(REPORTS, read(ENVIRONMENT), datetime.now(UTC))
    api = OneConfigMap({"report.json": text})
    one = usage(api, metrics)
    await one.read()
    api.data = None
    await one.read()
    assert shown(metrics)['modelyard_store_bytes{object_namespace="shop"}'] == 700


def test_a_report_of_many_namespaces_is_bounded() -> None:
    many = {
        f"namespace-{i:04}{'x' * 49}": Report(
            bytes=i,
            problem="数" * 5000,
            missing=tuple(("sha256:" + "0" * 64, "x" * 80) for _ in range(100)),
        )
        for i in range(2000)
    }
    text = document(many, read(ENVIRONMENT), datetime.now(UTC))
    assert len(text.encode()) < 300_000  # a ConfigMap may have 1 MiB
    found = json.loads(text)
    assert found["omittedNamespaces"] == 1900
    assert min(one["bytes"] for one in found["namespaces"]) == 1900
    assert found["bytes"] == sum(range(2000))


@pytest.mark.parametrize("hours", ["0", "1", "x"])
def test_a_grace_period_that_is_too_short_is_refused(hours: str) -> None:
    with pytest.raises(ValueError, match=r"GRACE_HOURS|float"):
        read(ENVIRONMENT | {"MODELYARD_COLLECTOR_GRACE_HOURS": hours})


def test_it_deletes_only_if_told_to() -> None:
    assert read(ENVIRONMENT).policy == Policy(delete=False, expire=True)
    assert read(ENVIRONMENT | {"MODELYARD_COLLECTOR_DELETE": "true"}).policy.delete
