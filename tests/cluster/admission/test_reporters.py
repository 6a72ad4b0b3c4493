"""Pods that report are confined to the status of their own object, for each kind that has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client

from modelyard.api import KindInfo
from modelyard.api.base import GROUP, VERSION

from ...kinds import REPORTED, example

pytestmark = pytest.mark.cluster
NS = "work"

Report = Callable[[str, dict[str, Any]], str]


@pytest.fixture(params=REPORTED, ids=lambda info: info.kind)
def info(request: pytest.FixtureRequest) -> KindInfo:
    found: KindInfo = request.param
    return found


@pytest.fixture
def stem(info: KindInfo, request: pytest.FixtureRequest) -> str:
    test = request.node.name.split("[")[0].replace("_", "-")
    return f"{info.singular}-{test}"[-40:].strip("-")


@pytest.fixture
def report(policies: Any, valid: Any, token: Callable[..., str], info: KindInfo, stem: str) -> Any:
    """Patches the status of an object that belongs to pod `mine`, with the token of a pod; returns
    "" or what the API server answered."""
    assert info.reporter
    account = f"modelyard-{info.reporter.who}"
    name, spec = example(info.kind, stem)
    for pod in (f"{stem}-mine", f"{stem}-other"):
        body = {"serviceAccountName": account, "containers": [{"name": "c", "image": "none"}]}
        meta = {"name": pod, "namespace": NS}
        policies.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body})
    part, *keys = info.reporter.pod.strip(".").split(".")
    belongs = {".".join(keys): f"{stem}-mine"}
    policies.create(valid(info.kind, name, spec | (belongs if part == "spec" else {})))
    if part == "status":
        policies.set_status(info.crd_name, NS, name, belongs)

    def patch(pod: str | None, status: dict[str, Any]) -> str:
        asked = token(account, f"{stem}-{pod}" if pod else None)
        objects = client.CustomObjectsApi(policies.client(asked))
        try:
            objects.patch_namespaced_custom_object_status(
                GROUP, VERSION, NS, info.plural, name, {"status": status}
            )
        except client.ApiException as error:
            return str(json.loads(error.body)["message"])
        return ""

    return patch


def test_the_objects_own_pod_may_report(report: Any, info: KindInfo) -> None:
    assert info.reporter
    field = info.reporter.fields[0] if info.reporter.fields else ""
    assert report("mine", {field: {}} if field else {"message": "m"}) == ""


def test_another_pod_may_not(report: Any, info: KindInfo, stem: str) -> None:
    said = report("other", {"message": "m"})
    assert f"pod {stem}-other may not report for {info.kind}" in said
    assert f"belongs to pod {stem}-mine" in said


def test_a_token_without_a_pod_may_not(report: Any) -> None:
    assert "names no pod" in report(None, {"message": "m"})


def test_only_its_own_fields_may_change(report: Any, info: KindInfo) -> None:
    assert info.reporter
    if not info.reporter.fields:
        pytest.skip(f"the {info.reporter.who} writes the whole status")
    assert "may only change status." in report("mine", {"message": "m"})
