"""The chart's life on a real API server: install, upgrade, uninstall, install again."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api import ALL_KINDS
from modelyard_local.cluster import ControlPlane

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[3]
CHART = str(ROOT / "charts/modelyard")
NS = "modelyard-system"
RELEASE = ("modelyard", CHART, "--namespace", NS)
OPERATOR = f"system:serviceaccount:{NS}:modelyard-operator"


@pytest.fixture(scope="module")
def fresh(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An API server of our own: installing CRDs concerns all of it."""
    with ControlPlane(tmp_path_factory.mktemp("chart")) as plane:
        mine = type(cluster)(plane.kubeconfig)
        for namespace in (NS, "vision", "other"):
            mine.kubectl("create", "namespace", namespace)
        yield mine


@pytest.fixture(scope="module")
def installed(fresh: Any) -> Any:
    """The chart, with one workload namespace of its own."""
    fresh.helm("install", *RELEASE, "--set", "workloads.namespaces={vision}")
    return fresh


def _secret(cluster: Any, namespace: str, name: str) -> dict[str, str]:
    data: dict[str, str] = cluster.get("secret", namespace, name)["data"]
    return data


def _accounts(cluster: Any) -> dict[tuple[str | None, str], dict[str, str]]:
    """The accounts of the store, by namespace and access."""
    text = base64.b64decode(_secret(cluster, NS, "modelyard-store")["accounts.json"])
    return {(one.get("namespace"), one["access"]): one for one in json.loads(text)}


def test_notes_say_what_to_do_next(installed: Any) -> None:
    notes = installed.helm("get", "notes", "modelyard", "--namespace", NS)
    assert f"kubectl -n {NS} rollout status deployment/modelyard-operator" in notes
    assert "modelyard status -n vision" in notes


def test_pods_meet_pod_security_restricted(installed: Any) -> None:
    # A label that comes later is heeded later.
    strict = {"name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    installed.create({"apiVersion": "v1", "kind": "Namespace", "metadata": strict})
    installed.kubectl("-n", "strict", "create", "serviceaccount", "default")
    for kind, name in (("deployment", "modelyard-operator"), ("statefulset", "modelyard-store")):
        template = installed.get(kind, NS, name)["spec"]["template"]
        spec = copy.deepcopy(template["spec"]) | {"serviceAccountName": "default"}
        spec.pop("serviceAccount", None)
        # A StatefulSet's controller would add the volume of its claim.
        spec["volumes"] = [{"name": "data", "emptyDir": {}}, *spec.get("volumes", [])]
        pod = {"apiVersion": "v1", "kind": "Pod", "spec": spec}
        pod["metadata"] = {"name": name, "namespace": "strict"}
        installed.kubectl("create", "--dry-run=server", "-f", "-", stdin=pod)
        for container in spec["containers"] + spec.get("initContainers", []):
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["resources"]["requests"]


@pytest.mark.parametrize(
    ("verb", "what", "namespace", "answer"),
    [
        ("watch", "datasets.modelyard.dev", "other", "yes"),
        ("patch", "modelversions.modelyard.dev/status", "other", "yes"),
        ("create", "jobs.batch", "vision", "yes"),
        ("patch", "deployments.apps", "vision", "yes"),
        ("delete", "pods", "vision", "yes"),
        ("create", "modelversions.modelyard.dev", "vision", "yes"),
        ("delete", "modelservers.modelyard.dev", "vision", "yes"),
        ("create", "events.events.k8s.io", "other", "yes"),
        ("watch", "events", "other", "yes"),
        ("get", "events", "other", "no"),
        ("create", "events", "other", "no"),
        ("update", "leases.coordination.k8s.io/modelyard-operator", NS, "yes"),
        ("update", "leases.coordination.k8s.io/somebody-elses", NS, "no"),
        ("create", "jobs.batch", "other", "no"),
        ("create", "pods", "vision", "no"),
        ("get", "secrets", "vision", "no"),
        ("list", "configmaps", NS, "no"),
        ("delete", "datasets.modelyard.dev", "vision", "no"),
        ("update", "trainingjobs.modelyard.dev", "vision", "no"),
        ("delete", "modelversions.modelyard.dev", "vision", "no"),
    ],
)
def test_what_the_operator_may_do(
    installed: Any, verb: str, what: str, namespace: str, answer: str
) -> None:
    resource, _, rest = what.partition("/")
    extra = [f"--subresource={rest}"] if rest == "status" else []
    name = [rest] if rest and not extra else []
    said = installed.run(
        "kubectl",
        *("auth", "can-i", verb, "/".join([resource, *name]), "-n", namespace),
        *(f"--as={OPERATOR}", *extra),
    )
    assert said.stdout.strip() == answer


def test_each_way_to_install_crds_gives_the_same(installed: Any) -> None:
    """`helm install`, `helm template | kubectl apply`, and `kubectl apply -f crds/`."""
    names = [info.crd_name for info in ALL_KINDS]
    released = {name: installed.get("crd", NS, name)["spec"] for name in names}
    apply = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o", "json")
    rendered = [one for one in yaml.safe_load_all(installed.helm("template", *RELEASE)) if one]
    crds = [one for one in rendered if one["kind"] == "CustomResourceDefinition"]
    piped = installed.kubectl(
        *apply, "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": crds}
    )
    files = installed.kubectl(*apply, "-f", f"{ROOT / 'crds'}/")
    for said in (piped, files):
        found = {one["metadata"]["name"]: one["spec"] for one in json.loads(said)["items"]}
        assert found == released


def test_an_upgrade_keeps_all_keys_and_makes_others_for_new_namespaces(installed: Any) -> None:
    names = ("modelyard-store-writer", "modelyard-store-reader")
    before = {name: _secret(installed, "vision", name) for name in names}
    root = _secret(installed, NS, "modelyard-store")
    known = _accounts(installed)
    # What somebody in a namespace writes into its Secret is not what the store believes. (Helm
    # reports the conflict, unless it is told to restore what the chart says.)
    stolen = {"data": {"AWS_ACCESS_KEY_ID": root["AWS_ACCESS_KEY_ID"]}}
    installed.kubectl(
        "-n", "vision", "patch", "secret", names[0], "--type=merge", "-p", json.dumps(stolen)
    )
    namespaces = "workloads.namespaces={vision,other}"
    installed.helm(
        "upgrade",
        *RELEASE,
        "--set",
        namespaces,
        "--set",
        "operator.replicas=2",
        "--force-conflicts",
    )
    assert {name: _secret(installed, "vision", name) for name in names} == before
    after = _accounts(installed)
    assert {use: after[use] for use in known} == known
    assert set(after) - set(known) == {("other", "Writer"), ("other", "Reader")}
    assert len({one["secretAccessKey"] for one in after.values()}) == len(after)
    own = _secret(installed, "other", names[0])["AWS_SECRET_ACCESS_KEY"]
    assert base64.b64decode(own).decode() == after["other", "Writer"]["secretAccessKey"]
    now = _secret(installed, NS, "modelyard-store")
    assert now["AWS_SECRET_ACCESS_KEY"] == root["AWS_SECRET_ACCESS_KEY"]
    assert installed.get("deployment", NS, "modelyard-operator")["spec"]["replicas"] == 2
    for account in ("modelyard-trainer", "modelyard-agent"):
        installed.get("serviceaccount", "other", account)


def test_objects_survive_an_uninstall(installed: Any) -> None:
    spec = {"source": {"s3": {"bucket": "data", "key": "digits/"}}}
    metadata = {"name": "digits", "namespace": "vision"}
    dataset = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "Dataset"}
    installed.create(dataset | {"metadata": metadata, "spec": spec})
    installed.helm("uninstall", "modelyard", "--namespace", NS)
    assert installed.get("dset", "vision", "digits")["spec"]["source"] == spec["source"]
    for kind in ("validatingadmissionpolicies", "mutatingadmissionpolicies"):
        left = json.loads(installed.kubectl("get", kind, "-o", "json"))
        assert left["items"] == []
    installed.helm("install", *RELEASE, "--set", "workloads.namespaces={vision}")
    installed.get("dset", "vision", "digits")


def test_an_unkept_uninstall_leaves_nothing(installed: Any) -> None:
    installed.helm("upgrade", *RELEASE, "--set", "crds.keep=false")
    installed.helm("uninstall", "modelyard", "--namespace", NS)
    # CRDs go once the API server has removed their objects.
    crds = ["crd", "-l", "app.kubernetes.io/part-of=modelyard"]
    if installed.kubectl("get", *crds, "-o", "name"):
        installed.kubectl("wait", "--for=delete", "--timeout=60s", *crds)
    kinds = "crd,clusterrole,clusterrolebinding,validatingadmissionpolicybinding,"
    kinds += "mutatingadmissionpolicybinding"
    mine = ["-A", "-l", "app.kubernetes.io/part-of=modelyard", "-o", "name"]
    assert installed.kubectl("get", kinds, *mine) == ""
    assert installed.kubectl("get", "deploy,sts,svc,secret,sa,role,rolebinding", *mine) == ""
