"""One registration is all that a kind needs: the toy kind of tests/toykind turns up everywhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard_local.cluster import ensure

ROOT = Path(__file__).parents[2]
ACCOUNT = "modelyard-surveyor"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toy")


@pytest.fixture(scope="module")
def toy(folder: Path) -> dict[str, Any]:
    """Where the toy kind turns up, in a process in which it is registered."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.toykind", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def release(toy: dict[str, Any], folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The chart with what was generated for the toy kind, as helm renders it."""
    chart = shutil.copytree(ROOT / "charts/modelyard", folder / "chart", symlinks=True)
    (chart / "files/crds").unlink()
    shutil.copytree(folder / "crds", chart / "files/crds")
    shutil.copy(folder / "kinds.yaml", chart / "files/kinds.yaml")
    shutil.copy(folder / "values.yaml", chart / "values.yaml")
    command = [str(ensure("helm")), "template", "modelyard", str(chart)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def granted(role: dict[str, Any]) -> set[tuple[str, str]]:
    """(resource, verb) in our group."""
    return {
        (resource, verb)
        for rule in role["rules"]
        if rule["apiGroups"] == ["modelyard.dev"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_it_has_a_crd(release: Any) -> None:
    crd = release["CustomResourceDefinition", "surveys.modelyard.dev"]
    version = crd["spec"]["versions"][0]
    assert crd["spec"]["names"]["shortNames"] == ["sv"]
    assert [c["name"] for c in version["additionalPrinterColumns"]] == [
        *("Phase", "Sample", "Seen", "Age")
    ]


def test_the_operator_may_work_with_it(release: Any) -> None:
    watching = granted(release["ClusterRole", "modelyard-operator"])
    assert {("surveys", verb) for verb in ("get", "list", "watch")} <= watching
    assert ("surveys/status", "patch") in watching
    working = granted(release["ClusterRole", "modelyard-operator-workloads"])
    assert {one for one in working if one[0].startswith("surveys")} == {
        ("surveys/finalizers", "update")
    }


def test_users_may_declare_it(release: Any) -> None:
    assert ("surveys", "list") in granted(release["ClusterRole", "modelyard-view"])
    assert ("surveys", "create") in granted(release["ClusterRole", "modelyard-edit"])


def test_its_pods_may_report(release: Any) -> None:
    assert ("ServiceAccount", ACCOUNT) in release
    assert granted(release["Role", ACCOUNT]) == {
        ("surveys", "get"),
        ("surveys", "list"),
        ("surveys", "watch"),
        ("surveys/status", "patch"),
    }
    policy = release["ValidatingAdmissionPolicy", "modelyard-surveyor-reports"]["spec"]
    assert ACCOUNT in policy["matchConditions"][0]["expression"]
    variables = {one["name"]: one["expression"] for one in policy["variables"]}
    assert "request.resource.resource == 'surveys'" in variables["report"]
    assert "oldObject.status.podName" in variables["owner"]
    messages = [one.get("message") for one in policy["validations"]]
    assert "a surveyor may only change status.progress of its Survey" in messages


def test_it_is_kept_while_it_is_in_use(release: Any) -> None:
    policy = release["ValidatingAdmissionPolicy", "modelyard-in-use"]["spec"]
    (rule,) = policy["matchConstraints"]["resourceRules"]
    assert rule["resources"] == ["datasets", "modelversions", "surveys"]


def test_its_pods_have_default_resources(release: Any, toy: Any) -> None:
    (container,) = release["Deployment", "modelyard-operator"]["spec"]["template"]["spec"][
        "containers"
    ]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert json.loads(env["MODELYARD_RESOURCES"])["survey"] == {"cpu": "1", "memory": "512Mi"}
    assert toy["operator"]["resources"] == {"cpu": "1", "memory": "512Mi"}
    assert toy["operator"]["account"] == ACCOUNT


def test_the_operator_reconciles_it(toy: Any) -> None:
    found = toy["operator"]
    assert found["controllers"][-1] == "Survey"
    assert "Survey" in found["watched"]
    assert found["url"] == "/apis/modelyard.dev/v1alpha1/namespaces/shop/surveys/one"
    assert found["written by pods"] == ["progress"]


def test_references_reconcile_both_ends(toy: Any) -> None:
    assert toy["operator"]["reconciled by a Survey"] == ["Dataset shop/shelf", "Survey shop/one"]
    # `old` has pinned what it uses.
    assert toy["operator"]["reconciled by a Dataset"] == ["Survey shop/one", "Survey shop/two"]


def test_what_it_uses_says_so(toy: Any) -> None:
    # `old` is done.
    assert toy["operator"]["usedBy of the Dataset"] == ["Survey one", "Survey two"]
    assert toy["operator"]["usedBy of one"] == ["Survey two"]
    assert toy["operator"]["usedBy of two"] is None


def test_the_tree_shows_it(toy: Any) -> None:
    assert toy["person"]["tree"] == [
        "Dataset shelf  Ready  sha256:aaaaaaaaaaaa",
        "  Survey monday  Running  Sample 9",
    ]


def test_argocd_knows_its_health(toy: Any) -> None:
    data = yaml.safe_load(toy["generated"]["argocd"])["data"]
    assert "resource.customizations.health.modelyard.dev_Survey" in data
    assert "resource.customizations.ignoreResourceUpdates.modelyard.dev_Survey" not in data


def test_the_reference_describes_it(toy: Any) -> None:
    page = toy["generated"]["reference"]
    part = page[page.index("## Survey (`sv`)") :]
    assert "kind: Survey\nmetadata:\n  name: monday\n" in part
    assert "- Phases: `Running`, `Done`, `Failed`." in part
    assert "- Names a Dataset: `{.spec.dataset.name}`; it cannot be deleted" in part
    assert "| `spec.sample` | integer | Images to look at." in part


def test_tests_are_repeated_for_it(toy: Any) -> None:
    found = toy["parameters"]
    assert found["fields"] == ["dataset.name", "after.name", "sample"]
    assert all(found["values of each field"])
    assert found["admission, an example"] == {"dataset": {"name": "digits"}}
    assert found["faults, followed"] == "/apis/modelyard.dev/v1alpha1/surveys"
    for name in ("fields, carried out", "fields, changed", "faults, compared"):
        assert found[name] is True, name
    for name in (
        *("admission, in use", "admission, declared", "admission, reporters"),
        *("faults, deleted in order", "operations, reasons", "generated", "registration"),
    ):
        assert "Survey" in found[name], name
    # Only what the operator makes is made once.
    assert "Survey" not in found["faults, made once"]


def test_users_are_deleted_before_what_they_use(toy: Any) -> None:
    order = toy["parameters"]["faults, deleted in order"]
    assert order.index("Survey") < order.index("Dataset")
