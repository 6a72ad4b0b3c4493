"""The store's collector in the chart: it reports, and deletes only if told to."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api import ALL_KINDS
from modelyard.workloads.collect.settings import read

NAME = "modelyard-collector"


def job(rendered: Any) -> dict[str, Any]:
    (one,) = [o for o in rendered.objects if o["kind"] == "CronJob"]
    assert one["metadata"]["name"] == NAME
    assert one["spec"]["concurrencyPolicy"] == "Forbid"
    found: dict[str, Any] = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def environment(rendered: Any) -> dict[str, str]:
    (container,) = job(rendered)["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


def test_it_only_reports_unless_told_to_delete(render: Any) -> None:
    values = {"workloads": {"namespaces": ["shop", "lab"]}}
    settings = read(environment(render(values)))
    assert not settings.policy.delete
    assert settings.policy.grace.days == 7
    assert settings.namespaces == ("shop", "lab")
    assert settings.location.within("shop").url == "s3://modelyard-shop"
    assert settings.capacity == 20 << 30
    assert settings.report[1] == NAME
    told = render(values | {"store": {"collector": {"delete": True, "graceHours": 24}}})
    assert read(environment(told)).policy.delete
    assert read(environment(told)).policy.grace.days == 1


def test_it_has_an_account_and_a_key_of_its_own(render: Any) -> None:
    rendered = render({})
    spec = job(rendered)
    assert spec["serviceAccountName"] == NAME
    keys = [
        e["valueFrom"]["secretKeyRef"] for e in spec["containers"][0]["env"] if "valueFrom" in e
    ]
    assert {one["name"] for one in keys} == {"modelyard-store-collector"}
    assert {one["key"] for one in keys} == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_it_may_list_every_kind(render: Any) -> None:
    """An object of a kind that it could not see would lose its blobs."""
    (role,) = [
        o
        for o in render({}).objects
        if o["kind"] == "ClusterRole" and o["metadata"]["name"] == NAME
    ]
    listed = {r for rule in role["rules"] if "list" in rule["verbs"] for r in rule["resources"]}
    assert listed == {*(info.plural for info in ALL_KINDS), "jobs", "pods"}
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list", "get"}


def test_the_operator_reads_its_report(render: Any) -> None:
    (operator,) = [
        o
        for o in render({}).objects
        if o["kind"] == "Deployment" and o["metadata"]["name"] == "modelyard-operator"
    ]
    env = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "MODELYARD_STORE_REPORT", "value": NAME} in env


def test_it_can_be_left_out(render: Any) -> None:
    rendered = render({"store": {"collector": {"enabled": False}}})
    ours = [o for o in rendered.objects if "collector" in o["metadata"]["name"]]
    assert {o["kind"] for o in ours} <= {"Secret"}
    assert "MODELYARD_STORE_REPORT" not in str(rendered.objects)


@pytest.mark.parametrize("hours", [0, 1])
def test_a_grace_period_that_is_too_short_is_refused(render: Any, hours: int) -> None:
    assert "/graceHours" in render({"store": {"collector": {"graceHours": hours}}}).error
