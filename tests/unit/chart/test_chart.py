"""What the chart renders, and what it refuses to."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelyard.api.monitoringstatus import MonitoringAction
from modelyard.api.rolloutstatus import ActionName
from modelyard.runtime import settings as runtime_settings

ROOT = Path(__file__).parent.parent.parent.parent
CHART = ROOT / "charts/modelyard"


def test_helm_lint_finds_nothing(helm: str) -> None:
    done = subprocess.run(
        [helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_operator_understands_its_environment(
    render: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "images": {"worker": "r/worker:1", "tensorrt": "r/gpu:1", "pullPolicy": "Always"},
        "workloads": {
            "namespaces": ["vision", "lab"],
            "trainerServiceAccount": "teach",
            "allowedPrivateNetworks": ["10.20.0.0/16", "fd12::/48"],
            "resources": {"training": {"cpu": 8, "memory": "32Gi"}, "export": {"cpu": 1.5}},
        },
        "store": {
            "url": "s3://bucket/prefix",
            "endpoint": "https://s3.example.org",
            "region": "eu-1",
            "existingSecret": "keys",
            "existingReaderSecret": "read-keys",
            "embedded": {"enabled": False},
        },
        "operator": {"workers": 4, "resyncSeconds": 60, "logLevel": "debug"},
    }
    for name, value in render(values).operator_env().items():
        monkeypatch.setenv(name, value)
    settings = runtime_settings.load()
    assert settings.workers == 4
    assert settings.resync_seconds == 60
    assert settings.lease_name == "modelyard-operator"
    assert settings.own_namespace() == "modelyard-system"
    decisions = settings.for_decisions()
    assert decisions.namespaces == ("vision", "lab")
    assert decisions.images.worker == "r/worker:1"
    assert decisions.images.tensorrt == "r/gpu:1"
    assert decisions.images.pull_policy == "Always"
    assert decisions.store.url == "s3://bucket/prefix"
    assert decisions.store.endpoint == "https://s3.example.org"
    assert decisions.store.region == "eu-1"
    assert decisions.store_secret == "keys"
    assert decisions.store_reader_secret == "read-keys"
    assert decisions.store_claim is None
    assert decisions.store_of("vision").url == "s3://bucket/prefix/vision"
    assert decisions.allowed_private_networks == ("10.20.0.0/16", "fd12::/48")
    assert decisions.trainer_service_account == "teach"
    disk = {"ephemeral-storage": "100Gi"}
    assert decisions.resources["training"] == {"cpu": "8", "memory": "32Gi", **disk}
    assert decisions.resources["export"]["cpu"] == "1.5"
    assert decisions.resources["data"] == {"cpu": "1", "memory": "1Gi", **disk}


def test_every_setting_of_the_chart_is_known_to_the_operator(default: Any) -> None:
    known = set()
    for name, field in runtime_settings.EngineSettings.model_fields.items():
        nested = getattr(field.annotation, "model_fields", None)
        known |= {f"{name}__{inner}" for inner in nested} if nested else {name}
    ours = {name for name in default.operator_env() if name.startswith("MODELYARD_")}
    assert {name.removeprefix("MODELYARD_").lower() for name in ours} <= known


def test_every_container_has_a_share_of_the_nodes_disk(default: Any) -> None:
    made = default.of("Deployment", "StatefulSet", "Job")
    assert made
    for one in made:
        pod = one["spec"]["template"]["spec"]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            for side in ("requests", "limits"):
                asked = container.get("resources", {}).get(side, {})
                assert "ephemeral-storage" in asked, (one["metadata"]["name"], container["name"])


def test_no_role_has_a_wildcard(render: Any) -> None:
    roles = render({"workloads": {"namespaces": ["a", "b"]}}).of("Role", "ClusterRole")
    assert roles
    for role in roles:
        for rule in role["rules"]:
            for words in rule.values():
                assert not any("*" in word for word in words), role["metadata"]["name"]


def test_what_the_operator_makes_it_makes_in_workload_namespaces_only(default: Any) -> None:
    for rule in default.one("ClusterRole", "modelyard-operator")["rules"]:
        writes = set(rule["verbs"]) - {"get", "list", "watch"}
        only = rule["resources"]
        assert not writes or only == ["events"] or all("/status" in name for name in only)
    bindings = {one["roleRef"]["name"] for one in default.of("ClusterRoleBinding")}
    assert bindings == {"modelyard-operator"}


def test_each_workload_namespace_is_prepared(render: Any) -> None:
    rendered = render(
        {"workloads": {"namespaces": ["a", "b"]}, "imagePullSecrets": [{"name": "r"}]}
    )
    for namespace in ("a", "b"):
        inside = [o for o in rendered.objects if o["metadata"].get("namespace") == namespace]
        kinds = sorted((o["kind"], o["metadata"]["name"]) for o in inside)
        assert kinds == [
            ("NetworkPolicy", "modelyard-activators"),
            ("NetworkPolicy", "modelyard-datasets"),
            ("NetworkPolicy", "modelyard-others"),
            ("NetworkPolicy", "modelyard-servers"),
            ("NetworkPolicy", "modelyard-training"),
            ("NetworkPolicy", "modelyard-versions"),
            ("Role", "modelyard-activator"),
            ("Role", "modelyard-agent"),
            ("Role", "modelyard-trainer"),
            ("RoleBinding", "modelyard-activator"),
            ("RoleBinding", "modelyard-agent"),
            ("RoleBinding", "modelyard-collector-objects"),
            ("RoleBinding", "modelyard-operator"),
            ("RoleBinding", "modelyard-trainer"),
            ("Secret", "modelyard-store-reader"),
            ("Secret", "modelyard-store-writer"),
            ("ServiceAccount", "modelyard-activator"),
            ("ServiceAccount", "modelyard-agent"),
            ("ServiceAccount", "modelyard-trainer"),
        ]
        accounts = [o for o in inside if o["kind"] == "ServiceAccount"]
        assert all(o["imagePullSecrets"] == [{"name": "r"}] for o in accounts)


TWO = {"workloads": {"namespaces": ["a", "b"]}}
KEY = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def keys(rendered: Any) -> dict[tuple[str, str], tuple[str, str]]:
    """The keys of all Secrets, by namespace and name."""
    return {
        (one["metadata"]["namespace"], one["metadata"]["name"]): tuple(
            base64.b64decode(one["data"][name]).decode() for name in KEY
        )
        for one in rendered.of("Secret")
    }


def accounts(rendered: Any) -> dict[tuple[str | None, str], tuple[str, str]]:
    """The accounts that the store is told, by namespace and access."""
    data = rendered.one("Secret", "modelyard-store")["data"]["accounts.json"]
    listed = json.loads(base64.b64decode(data))
    return {
        (one.get("namespace"), one["access"]): (one["accessKeyId"], one["secretAccessKey"])
        for one in listed
    }


def test_each_namespace_and_use_has_a_key_of_its_own(render: Any) -> None:
    rendered = render(TWO)
    found, told = keys(rendered), accounts(rendered)
    assert set(found) == {
        ("a", "modelyard-store-writer"),
        ("a", "modelyard-store-reader"),
        ("b", "modelyard-store-writer"),
        ("b", "modelyard-store-reader"),
        ("modelyard-system", "modelyard-store-collector"),
        ("modelyard-system", "modelyard-store"),
    }
    assert len({secret for _, secret in found.values()}) == len(found)
    assert len({access for access, _ in found.values()}) == len(found)
    for namespace in ("a", "b"):
        assert told[namespace, "Writer"] == found[namespace, "modelyard-store-writer"]
        assert told[namespace, "Reader"] == found[namespace, "modelyard-store-reader"]
    assert told[None, "Collector"] == found["modelyard-system", "modelyard-store-collector"]
    assert len(told) == 5


def test_keys_derived_from_a_given_one_are_the_same_in_each_rendering(render: Any) -> None:
    given = {"store": {"accessKeyId": "root", "secretAccessKey": "r" * 40}}
    first, second = render(TWO | given), render(TWO | given)
    assert keys(first) == keys(second)
    assert accounts(first) == accounts(second)
    assert keys(first)["modelyard-system", "modelyard-store"] == ("root", "r" * 40)
    assert len(set(keys(first).values())) == 6
    other = render(TWO | {"store": {"accessKeyId": "root", "secretAccessKey": "s" * 40}})
    assert not set(keys(first).values()) & set(keys(other).values())


def test_a_namespace_whose_bucket_would_have_too_long_a_name_is_refused(render: Any) -> None:
    name = "n" * 60
    assert f"namespace {name}: its bucket" in render({"workloads": {"namespaces": [name]}}).error


def test_one_given_key_of_an_external_store_is_the_single_key_mode(render: Any) -> None:
    values = {
        "store": {
            "url": "s3://b",
            "accessKeyId": "id",
            "secretAccessKey": "key",
            "embedded": {"enabled": False},
        }
    }
    rendered = render(values)
    secret = rendered.one("Secret", "modelyard-store-writer")
    assert secret["data"] == {"AWS_ACCESS_KEY_ID": "aWQ=", "AWS_SECRET_ACCESS_KEY": "a2V5"}
    assert rendered.of("StatefulSet") == []
    assert rendered.operator_env()["MODELYARD_STORE_READER_SECRET"] == "modelyard-store-writer"


def test_a_store_without_credentials_names_no_secret(render: Any) -> None:
    rendered = render({"store": {"url": "s3://b", "embedded": {"enabled": False}}})
    assert rendered.of("Secret") == []
    assert rendered.operator_env()["MODELYARD_STORE_SECRET"] == ""
    assert rendered.operator_env()["MODELYARD_STORE_READER_SECRET"] == ""


def test_the_embedded_store_uses_an_existing_secret(render: Any) -> None:
    store = {"existingSecret": "keys", "embedded": {"existingSecret": "root"}}
    rendered = render({"store": store})
    assert rendered.of("Secret") == []
    pod = rendered.one("StatefulSet", "modelyard-store")["spec"]["template"]["spec"]
    names = {e["valueFrom"]["secretKeyRef"]["name"] for e in pod["containers"][0]["env"]}
    assert names == {"root"}
    assert {"name": "accounts", "secret": {"secretName": "root"}} in pod["volumes"]
    env = rendered.operator_env()
    assert env["MODELYARD_STORE__ENDPOINT"] == "http://modelyard-store.modelyard-system.svc:7070"
    assert env["MODELYARD_STORE__URL"] == "s3://modelyard-{namespace}"
    assert env["MODELYARD_STORE_SECRET"] == "keys"


EXTERNAL = {"url": "s3://models", "embedded": {"enabled": False}}


@pytest.mark.parametrize(
    ("store", "says"),
    [
        ({}, "one bucket and one key per workload namespace"),
        (
            EXTERNAL | {"accessKeyId": "a", "secretAccessKey": "b"},
            "Warning: single-key mode. Every workload namespace has the same key",
        ),
        (EXTERNAL | {"existingSecret": "k"}, "one Secret k per workload namespace"),
        (EXTERNAL, "with the pods' own cloud identity"),
    ],
    ids=["embedded", "one key", "Secrets", "identity"],
)
def test_the_notes_say_who_shares_a_key(helm: str, store: dict[str, Any], says: str) -> None:
    command = [helm, "install", "modelyard", str(CHART), "--dry-run=client", "--values", "-"]
    done = subprocess.run(
        command, input=json.dumps({"store": store}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout.partition("NOTES:")[2]


def test_two_replicas_have_a_disruption_budget(render: Any, default: Any) -> None:
    assert default.of("PodDisruptionBudget") == []
    budget = render({"operator": {"replicas": 2}}).one("PodDisruptionBudget", "modelyard-operator")
    assert budget["spec"]["maxUnavailable"] == 1


GROUP = "admissionregistration.k8s.io"
MUTATING = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding")


@pytest.mark.parametrize(
    ("served", "wanted"),
    [
        pytest.param([], None, id="older"),
        pytest.param(["v1"], "v1", id="1.36"),
        pytest.param(["v1beta1"], "v1beta1", id="1.34 with beta APIs"),
        pytest.param(["v1beta1", "v1"], "v1", id="both"),
    ],
)
def test_users_are_recorded_where_the_cluster_can(
    render: Any, served: list[str], wanted: str | None
) -> None:
    versions = [f"--api-versions={GROUP}/{v}/MutatingAdmissionPolicy" for v in served]
    found = render({}, *versions).of(*MUTATING)
    assert [one["apiVersion"] for one in found] == ([f"{GROUP}/{wanted}"] * 2 if wanted else [])
    for off in ({"recordUsers": False}, {"enabled": False}):
        assert render({"admission": off}, *versions).of(*MUTATING) == []


def test_every_action_on_a_rollout_gets_its_user_recorded(render: Any) -> None:
    policy, _ = render({}, f"--api-versions={GROUP}/v1/MutatingAdmissionPolicy").of(*MUTATING)
    marks = {one["name"]: one["expression"] for one in policy["spec"]["variables"]}["marks"]
    assert marks == str(["changed", *(action.value for action in (*ActionName, *MonitoringAction))])


def test_service_monitor_on_request(render: Any, default: Any) -> None:
    assert default.of("ServiceMonitor") == []
    monitor = render({"metrics": {"serviceMonitor": {"enabled": True}}}).of("ServiceMonitor")[0]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    service = default.one("Service", "modelyard-operator-metrics")
    assert wanted <= service["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"store": {"url": "s3://b"}}, "set store.embedded.enabled=false to use the URL"),
        ({"store": {"embedded": {"enabled": False}}}, "there is no store"),
        (
            {"store": {"url": "file:///x", "embedded": {"enabled": False}}},
            "set store.claim to the PersistentVolumeClaim",
        ),
        ({"store": {"accessKeyId": "a"}}, "belong together"),
        (
            {"store": {"accessKeyId": "a", "secretAccessKey": "b", "existingSecret": "c"}},
            "set either store.existingSecret",
        ),
        ({"store": {"url": "ftp://b", "embedded": {"enabled": False}}}, "/store/url"),
        ({"store": {"existingSecret": "c"}}, "store.embedded.existingSecret"),
        ({"store": {"embedded": {"existingSecret": "c"}}}, "set both, or neither"),
        ({"store": {"existingReaderSecret": "c"}}, "belong to store.existingSecret"),
        ({"workloads": {"allowedPrivateNetworks": ["10.0.0.1"]}}, "/allowedPrivateNetworks/0"),
        ({"operator": {"replica": 2}}, "'replica' not allowed"),
        ({"operator": {"replicas": 3}}, "/operator/replicas"),
        ({"images": {"pullPolicy": "Sometimes"}}, "/images/pullPolicy"),
        ({"workloads": {"namespaces": "vision"}}, "/workloads/namespaces"),
        ({"workloads": {"resources": {"agent": {"memory": "lots"}}}}, "/workloads/resources/agent"),
        (
            {"workloads": {"resources": {"agnt": {"cpu": "1", "memory": "1Gi"}}}},
            "workloads.resources.agnt: there is no such component; choose among agent, data",
        ),
        ({"podSecurityContext": {"runAsUser": 0}}, "/podSecurityContext/runAsUser"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:60],
)
def test_wrong_values_are_refused(render: Any, values: dict[str, Any], message: str) -> None:
    assert message in render(values).error
