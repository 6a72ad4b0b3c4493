"""The intake service as the chart installs it: off by default, with rights of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conftest import Rendered

ON = {"intake": {"enabled": True}, "workloads": {"namespaces": ["shop"]}}
NAME = "modelyard-intake"


def test_it_is_off_by_default(default: Rendered) -> None:
    assert not [one for one in default.objects if NAME in one["metadata"]["name"]]
    assert "MODELYARD_INTAKE_URL" not in default.operator_env()


def test_only_it_gets_the_key_that_writes_captures(render: Callable[..., Rendered]) -> None:
    rendered = render(ON)
    secrets = [one["metadata"]["name"] for one in rendered.of("Secret")]
    assert "modelyard-store-intake" in secrets
    users = []
    for one in rendered.of("Deployment", "CronJob", "StatefulSet"):
        if "modelyard-store-intake" in str(one["spec"]):
            users.append(one["metadata"]["name"])
    assert users == [NAME]


def test_its_rights_are_to_ask(render: Callable[..., Rendered]) -> None:
    rendered = render(ON)
    rules = [
        rule
        for one in rendered.of("ClusterRole")
        if one["metadata"]["name"].startswith(NAME)
        for rule in one["rules"]
    ]
    assert {(rule["resources"][0], *rule["verbs"]) for rule in rules} == {
        ("tokenreviews", "create"),
        ("modelservers", "get"),
    }
    bound: list[dict[str, Any]] = [
        one for one in rendered.of("ClusterRoleBinding") if one["metadata"]["name"].startswith(NAME)
    ]
    assert [one["roleRef"]["name"] for one in bound] == [f"{NAME}-tokens"]


def test_servers_reach_it_and_it_reaches_the_api_server_alone(
    render: Callable[..., Rendered],
) -> None:
    rendered = render(ON)
    policy = rendered.one("NetworkPolicy", NAME)
    assert all("to" not in rule or "ipBlock" in str(rule) for rule in policy["spec"]["egress"])
    servers = rendered.one("NetworkPolicy", "modelyard-servers")["spec"]["egress"]
    assert any({"protocol": "TCP", "port": 8070} in rule["ports"] for rule in servers)


def test_stores_that_cannot_sign_are_refused(render: Callable[..., Rendered]) -> None:
    directory = {"embedded": {"enabled": False}, "url": "file:///store", "claim": "c"}
    assert "on S3 only" in render(ON | {"store": directory}).error
    keyless = {"embedded": {"enabled": False}, "url": "s3://bucket"}
    assert "existingIntakeSecret" in render(ON | {"store": keyless}).error
