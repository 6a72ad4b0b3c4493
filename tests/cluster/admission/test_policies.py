"""Who may report what, with tokens as pods get them; and that nothing in use is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client

from modelyard.api import kind_info

from ...kinds import DECLARED, PROTECTED, REPORTED, example, users_of
from ..waiting import until

pytestmark = pytest.mark.cluster
NS = "work"
GROUP, VERSION = "modelyard.dev", "v1alpha1"
OPERATOR = "system:serviceaccount:modelyard-system:modelyard-operator"
DIGEST = "sha256:" + "0123456789abcdef" * 4

Patch = Callable[..., str]


def _pod(name: str, account: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NS},
        "spec": {
            "serviceAccountName": account,
            "containers": [{"name": "main", "image": "example.org/none"}],
        },
    }


@pytest.fixture(scope="session")
def pods(policies: Any) -> Any:
    """The cluster with two trainers' and two agents' pods, which never run."""
    for name in ("train-a", "train-b"):
        policies.create(_pod(name, "modelyard-trainer"))
    for name in ("serve-a", "serve-b"):
        policies.create(_pod(name, "modelyard-agent"))
    return policies


@pytest.fixture
def patch_status(pods: Any, token: Callable[..., str]) -> Patch:
    """Patches an object's status as a pod would; returns "" or what the API server answered."""

    def patch(
        plural: str, name: str, status: dict[str, Any], *, account: str, pod: str | None
    ) -> str:
        objects = client.CustomObjectsApi(pods.client(token(account, pod)))
        try:
            objects.patch_namespaced_custom_object_status(
                GROUP, VERSION, NS, plural, name, {"status": status}
            )
        except client.ApiException as error:
            return f"{error.status}: {json.loads(error.body)['message']}"
        return ""

    return patch


@pytest.fixture
def training(pods: Any, valid: Any, request: pytest.FixtureRequest) -> str:
    """A TrainingJob that pod train-a works for."""
    name = request.node.name.split("[")[0].replace("_", "-")[-50:].strip("-")
    pods.create(valid("TrainingJob", name))
    pods.set_status("tj", NS, name, {"podName": "train-a", "phase": "Running", "attempt": 0})
    return name


@pytest.fixture
def server(pods: Any, valid: Any, request: pytest.FixtureRequest) -> str:
    """A ModelServer of pod serve-a."""
    name = request.node.name.split("[")[0].replace("_", "-")[-50:].strip("-")
    pods.create(valid("ModelServer", name, {"podName": "serve-a"}))
    return name


TRAINER = {"account": "modelyard-trainer", "pod": "train-a"}
MOMENT = "2026-01-01T00:00:00Z"
AGENT = {"account": "modelyard-agent", "pod": "serve-a"}
PROGRESS = {"progress": {"podName": "train-a", "epoch": 2, "metrics": {"mAP50": 0.5}}}


def test_trainer_reports_progress(pods: Any, patch_status: Patch, training: str) -> None:
    assert patch_status("trainingjobs", training, PROGRESS, **TRAINER) == ""
    later = {"progress": {"epoch": 3, "metrics": {"mAP50": 0.6}}}
    assert patch_status("trainingjobs", training, later, **TRAINER) == ""
    status = pods.get("tj", NS, training)["status"]
    assert status["progress"]["epoch"] == 3
    assert status["phase"] == "Running"


def test_trainer_of_another_pod(patch_status: Patch, training: str) -> None:
    said = patch_status(
        "trainingjobs", training, PROGRESS, account="modelyard-trainer", pod="train-b"
    )
    assert f"pod train-b may not report for TrainingJob {training}" in said
    assert "belongs to pod train-a" in said


def test_trainer_token_without_a_pod(patch_status: Patch, training: str) -> None:
    said = patch_status("trainingjobs", training, PROGRESS, account="modelyard-trainer", pod=None)
    assert "names no pod" in said


def test_trainer_before_the_operator_named_its_pod(
    pods: Any, valid: Any, patch_status: Patch
) -> None:
    pods.create(valid("TrainingJob", "unclaimed"))
    said = patch_status("trainingjobs", "unclaimed", PROGRESS, **TRAINER)
    assert "belongs to no pod yet" in said


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Succeeded"},
        {"podName": "train-b"},
        {"weightsDigest": DIGEST},
        {"attempt": None},
        PROGRESS | {"modelVersion": "shelf-9"},
    ],
    ids=["changed", "stolen", "added", "removed", "beside"],
)
def test_trainer_touches_other_fields(
    pods: Any, patch_status: Patch, valid: Any, status: dict[str, Any], request: Any
) -> None:
    name = f"other-fields-{request.node.callspec.id}"
    pods.create(valid("TrainingJob", name))
    pods.set_status("tj", NS, name, {"podName": "train-a", "phase": "Running", "attempt": 0})
    before = pods.get("tj", NS, name)["status"]
    said = patch_status("trainingjobs", name, status, **TRAINER)
    assert "a trainer may only change status.progress of its TrainingJob" in said
    assert pods.get("tj", NS, name)["status"] == before


def test_reporters_stay_confined_whatever_roles_they_get(
    pods: Any, token: Callable[..., str], valid: Any, training: str
) -> None:
    pods.kubectl(
        *("-n", NS, "create", "rolebinding", "too-much", "--clusterrole=cluster-admin"),
        *(f"--serviceaccount={NS}:modelyard-trainer", f"--serviceaccount={NS}:modelyard-agent"),
    )
    try:
        for account in ("modelyard-trainer", "modelyard-agent"):
            who = f"--as=system:serviceaccount:{NS}:{account}"
            can = ("auth", "can-i", "delete", "trainingjobs.modelyard.dev", "-n", NS, who)
            # The API server heeds a binding a moment after it has taken it.
            until(lambda can=can: not pods.run("kubectl", *can).returncode, what="the rights")
        for account, pod in (("modelyard-trainer", "train-a"), ("modelyard-agent", "serve-a")):
            objects = client.CustomObjectsApi(pods.client(token(account, pod)))
            with pytest.raises(client.ApiException, match="may only change the status of"):
                objects.delete_namespaced_custom_object(
                    GROUP, VERSION, NS, "trainingjobs", training
                )
            with pytest.raises(client.ApiException, match="may only change the status of"):
                objects.create_namespaced_custom_object(
                    GROUP, VERSION, NS, "datasets", valid("Dataset", "sneaky")
                )
    finally:
        pods.kubectl("-n", NS, "delete", "rolebinding", "too-much")


def test_agent_reports_what_it_holds(pods: Any, patch_status: Patch, server: str) -> None:
    held = {
        "modelVersion": "shelf-3",
        "version": 3,
        "digest": DIGEST,
        "since": "2026-01-01T00:00:00Z",
    }
    assert patch_status("modelservers", server, {"phase": "Ready", "loaded": held}, **AGENT) == ""
    assert pods.get("ms", NS, server)["status"]["loaded"]["version"] == 3


DRIFT: dict[str, Any] = {
    "state": "Drifting",
    "findings": [{"kind": "Drift", "signal": "TopScore", "size": -3.0, "since": MOMENT}],
    "alarmSince": MOMENT,
}


def test_agent_reports_drift_of_its_own_server_only(
    pods: Any, patch_status: Patch, server: str
) -> None:
    told = {"drift": DRIFT}
    assert patch_status("modelservers", server, told, **AGENT) == ""
    assert pods.get("ms", NS, server)["status"]["drift"]["state"] == "Drifting"
    other = {"account": "modelyard-agent", "pod": "serve-b"}
    said = patch_status("modelservers", server, {"drift": {"state": "Stable"}}, **other)
    assert "belongs to pod serve-a" in said


def test_what_an_agent_says_of_drift_is_bounded(patch_status: Patch, server: str) -> None:
    finding = DRIFT["findings"][0]
    for change, words in (
        ({"findings": [finding] * 7}, "must have at most 6 items"),
        ({"findings": [finding | {"because": ["x" * 49]}]}, "may not be more than 48"),
        ({"state": "x" * 17}, "may not be more than 16"),
        ({"artifactDigest": "x" * 72}, "may not be more than 71"),
        ({"alarmSince": "yesterday"}, "date-time"),
    ):
        assert words in patch_status("modelservers", server, {"drift": DRIFT | change}, **AGENT)


def test_agent_of_another_pod(patch_status: Patch, server: str) -> None:
    said = patch_status(
        "modelservers", server, {"phase": "Ready"}, account="modelyard-agent", pod="serve-b"
    )
    assert f"pod serve-b may not report for ModelServer {server}" in said
    assert "belongs to pod serve-a" in said


def test_agent_token_without_a_pod(patch_status: Patch, server: str) -> None:
    said = patch_status(
        "modelservers", server, {"phase": "Ready"}, account="modelyard-agent", pod=None
    )
    assert "names no pod" in said


def test_agent_reads_its_assignment_and_no_trainings(
    pods: Any, token: Callable[..., str], server: str, training: str
) -> None:
    objects = client.CustomObjectsApi(pods.client(token(**AGENT)))
    read = objects.get_namespaced_custom_object(GROUP, VERSION, NS, "modelservers", server)
    assert read["spec"]["assigned"]["version"] == 3
    with pytest.raises(client.ApiException, match="Forbidden"):
        objects.get_namespaced_custom_object(GROUP, VERSION, NS, "trainingjobs", training)


@pytest.mark.parametrize("kind", PROTECTED)
def test_used_objects_are_kept(pods: Any, valid: Any, kind: str) -> None:
    resource = kind_info(kind).crd_name
    name, spec = example(kind, "used")
    users = [f"{user} u-{number}" for number, user in enumerate(users_of(kind))]
    pods.create(valid(kind, name, spec))
    pods.set_status(resource, NS, name, {"usedBy": users})
    said = pods.refused("-n", NS, "delete", resource, name)
    assert f"{kind} {name} is in use by {', '.join(users)}; delete or change what uses it" in said
    assert f"{kind} {name} is in use by" in pods.refused("-n", NS, "delete", resource, "--all")
    pods.get(resource, NS, name)
    pods.set_status(resource, NS, name, {"usedBy": []})
    pods.kubectl("-n", NS, "delete", resource, name)


def test_a_namespace_takes_used_objects_with_it(pods: Any, valid: Any) -> None:
    controller = "--as=system:serviceaccount:kube-system:namespace-controller"
    leaving = valid("Dataset", "going")
    leaving["metadata"]["namespace"] = "leaving"
    pods.kubectl("create", "namespace", "leaving")
    pods.create(leaving)
    pods.set_status("dset", "leaving", "going", {"usedBy": ["TrainingJob x"]})
    delete = ("-n", "leaving", "delete", "dset", "going", controller)
    assert "is in use by TrainingJob x" in pods.refused(*delete)
    pods.kubectl("delete", "namespace", "leaving", "--wait=false")
    # The policy learns of it by a watch.
    until(lambda: not pods.run("kubectl", *delete).returncode, what="the namespace's end")


@pytest.fixture
def as_operator(pods: Any) -> Patch:
    """Patches a ModelVersion's status as the operator's service account."""
    api = pods.client()
    api.set_default_header("Impersonate-User", OPERATOR)

    def patch(name: str, **status: Any) -> str:
        try:
            client.CustomObjectsApi(api).patch_namespaced_custom_object_status(
                GROUP, VERSION, NS, "modelversions", name, {"status": status}
            )
        except client.ApiException as error:
            return str(json.loads(error.body)["message"])
        return ""

    return patch


@pytest.fixture
def editor(pods: Any) -> str:
    """A person with the chart's part of the `edit` role, and rights on statuses on top."""
    pods.run(
        *("kubectl", "create", "clusterrole", "statuses", "--verb=get,patch,update"),
        "--resource=modelversions.modelyard.dev/status,modelservers.modelyard.dev/status",
    )
    pods.run(
        *("kubectl", "create", "clusterrole", "servers", "--verb=get,create,patch"),
        "--resource=modelservers.modelyard.dev",
    )
    # What a controller of kube-controller-manager would merge into `edit`.
    for role in ("modelyard-view", "modelyard-edit", "statuses", "servers"):
        pods.run(
            *("kubectl", "-n", NS, "create", "rolebinding", f"ada-{role}"),
            *(f"--clusterrole={role}", "--user=ada"),
        )
    return "ada"


def test_only_the_operator_writes_verdicts(
    pods: Any, valid: Any, editor: str, as_operator: Patch
) -> None:
    pods.create(valid("ModelVersion", "verdict-1", {"modelLine": "verdict", "version": 1}))
    patch = ("-n", NS, "patch", "mv", "verdict-1", "--subresource=status", "--type=merge")
    ready = ("-p", json.dumps({"status": {"phase": "Ready"}}))
    said = pods.refused(*patch, *ready, f"--as={editor}")
    assert "the status of ModelVersion verdict-1 is its verdict: only the Modelyard" in said
    assert as_operator("verdict-1", phase="Ready") == ""


def test_only_the_operator_assigns(pods: Any, valid: Any, editor: str) -> None:
    said = pods.refused("create", "-f", "-", f"--as={editor}", stdin=valid("ModelServer", "rogue"))
    assert "ModelServer rogue is an assignment: only the Modelyard operator writes it" in said
    pods.create(valid("ModelServer", "assigned"), impersonate=OPERATOR)
    patch = json.dumps({"spec": {"assigned": {"version": 9}}})
    said = pods.refused(
        *("-n", NS, "patch", "ms", "assigned", "--type=merge", "-p", patch, f"--as={editor}")
    )
    assert "only the Modelyard operator writes it, and ada is not it" in said


def test_a_verdict_is_final_even_for_the_operator(
    pods: Any, valid: Any, as_operator: Patch
) -> None:
    pods.create(valid("ModelVersion", "final-1", {"modelLine": "final", "version": 1}))
    assert as_operator("final-1", phase="Ready", mAP50=0.8) == ""
    said = as_operator("final-1", phase="Rejected", mAP50=0.7)
    assert "ModelVersion final-1 is Ready, which is final: status.phase, status.mAP50" in said
    assert as_operator("final-1", usedBy=["Deployment shelf"], message="in use") == ""


def test_a_name_that_ends_like_an_account_is_none(pods: Any, valid: Any) -> None:
    """Identity providers may allow colons in names; the API server's own accounts have a prefix."""
    pods.create(valid("ModelServer", "lookalike"), impersonate=OPERATOR)
    who = "corp:modelyard-agent"
    pods.run(
        *("kubectl", "create", "clusterrole", "reports", "--verb=get,patch,update"),
        "--resource=modelservers.modelyard.dev/status",
    )
    pods.run(
        *("kubectl", "-n", NS, "create", "rolebinding", "lookalike"),
        *("--clusterrole=reports", f"--user={who}"),
    )
    patch = json.dumps({"status": {"message": "m"}})
    said = pods.refused(
        *("-n", NS, "patch", "ms", "lookalike", "--subresource=status", "--type=merge"),
        *("-p", patch, f"--as={who}"),
    )
    assert f"only the Modelyard operator writes it, and {who} is not it" in said


@pytest.mark.parametrize("account", ["modelyard-agent", "modelyard-trainer", "modelyard-activator"])
def test_editors_get_no_tokens_of_pods_that_report(pods: Any, account: str) -> None:
    """Kubernetes' role edit may request tokens, bound to a pod of the requester's choice."""
    pods.run(
        *("kubectl", "-n", NS, "create", "rolebinding", "ada-edit"),
        # What a controller of kube-controller-manager would merge into `edit`.
        *("--clusterrole=system:aggregate-to-edit", "--user=ada"),
    )
    pods.run("kubectl", "-n", NS, "create", "serviceaccount", "her-own")
    pods.kubectl("-n", NS, "create", "token", "her-own", "--as=ada")
    said = pods.refused("-n", NS, "create", "token", account, "--as=ada")
    assert f"a token of the service account {account} is for pods that the Modelyard" in said
    assert "ada may not" in said


def _workload(kind: str, account: str) -> dict[str, Any]:
    pod = _pod(f"own-{kind}".lower(), account)
    template = {"metadata": {"labels": {"app": "own"}}, "spec": pod["spec"]}
    once = {**template, "spec": {**pod["spec"], "restartPolicy": "Never"}}
    chosen = {"selector": {"matchLabels": {"app": "own"}}, "template": template}
    group, body = {
        "Pod": ("v1", {"spec": pod["spec"]}),
        "ReplicationController": ("v1", {"spec": {"template": template}}),
        "Deployment": ("apps/v1", {"spec": chosen}),
        "ReplicaSet": ("apps/v1", {"spec": chosen}),
        "DaemonSet": ("apps/v1", {"spec": chosen}),
        "StatefulSet": ("apps/v1", {"spec": chosen | {"serviceName": "own"}}),
        "Job": ("batch/v1", {"spec": {"template": once}}),
        "CronJob": (
            "batch/v1",
            {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": once}}}},
        ),
    }[kind]
    return {"apiVersion": group, "kind": kind, "metadata": pod["metadata"], **body}


@pytest.mark.parametrize(
    "kind",
    [
        *("Pod", "ReplicationController", "Deployment", "ReplicaSet", "DaemonSet"),
        *("StatefulSet", "Job", "CronJob"),
    ],
)
def test_editors_make_no_pods_with_the_accounts_of_pods_that_report(pods: Any, kind: str) -> None:
    """Such a pod could have the name of one that has gone, and its token would name it."""
    for role in ("edit", "view"):
        pods.run(
            *("kubectl", "-n", NS, "create", "rolebinding", f"ada-{role}"),
            *(f"--clusterrole=system:aggregate-to-{role}", "--user=ada"),
        )
    said = pods.refused(
        *("create", "-f", "-", "--as=ada"), stdin=_workload(kind, "modelyard-activator")
    )
    assert "ada may not use it; choose another serviceAccountName" in said
    pods.run("kubectl", "-n", NS, "create", "serviceaccount", "her-own")
    pods.create(_workload(kind, "her-own"), impersonate="ada")
    if kind != "Pod":
        path = "/spec/jobTemplate/spec/template" if kind == "CronJob" else "/spec/template"
        change = {
            "op": "add",
            "path": f"{path}/spec/serviceAccountName",
            "value": "modelyard-agent",
        }
        patch = ("patch", kind.lower(), f"own-{kind}".lower(), "--type=json")
        if kind != "Job":  # A Job's template cannot change at all.
            said = pods.refused(
                *("-n", NS, *patch, "-p", json.dumps([change]), "--as=ada"),
            )
            assert "ada may not use it" in said


def test_the_controllers_make_the_operators_pods(pods: Any) -> None:
    job = "system:serviceaccount:kube-system:job-controller"
    pods.run(
        *("kubectl", "create", "clusterrolebinding", "job-controller"),
        *("--clusterrole=cluster-admin", f"--user={job}"),
    )
    pods.create(_pod("of-a-job", "modelyard-trainer"), impersonate=job)


def test_editors_work_with_what_users_declare(pods: Any, valid: Any, editor: str) -> None:
    for kind in DECLARED:
        name, spec = example(kind, "by-ada")
        pods.create(valid(kind, name, spec), impersonate=editor)
    pods.kubectl("-n", NS, "get", "modelyard", f"--as={editor}")
    pods.kubectl("-n", NS, "scale", "mdep", "by-ada", "--replicas=2", f"--as={editor}")
    pods.kubectl("-n", NS, "delete", "mdep", "by-ada", f"--as={editor}")


def test_policies_are_well_typed(pods: Any) -> None:
    found = json.loads(pods.kubectl("get", "validatingadmissionpolicies", "-o", "json"))["items"]
    assert len(found) == 9 + len(REPORTED)
    for one in found:
        assert not one.get("status", {}).get("typeChecking", {}).get("expressionWarnings"), one
