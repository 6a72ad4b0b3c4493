"""The API server notes who changed a Deployment's spec and who asked for an action, and nobody can
write another name there: not by merging, replacing or applying, on neither side."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ..waiting import until

pytestmark = pytest.mark.cluster
NS = "work"
ADA, BOB = "ada@example.com", "bob@example.com"
OPERATOR = "system:serviceaccount:modelyard-system:modelyard-operator"
CHANGED = "modelyard.dev/changed-by"


def notes(api: Any, name: str) -> dict[str, str]:
    """Our annotations of a Deployment, without their prefix."""
    found = api.get("mdep", NS, name)["metadata"].get("annotations") or {}
    return {
        key.removeprefix("modelyard.dev/"): value
        for key, value in found.items()
        if key.startswith("modelyard.dev/")
    }


@pytest.fixture(scope="module")
def users(policies: Any) -> Any:
    """The cluster with the policy in force, and two people who may do anything in the namespace."""
    for user in (ADA, BOB):
        who = f"--user={user}"
        name = user.partition("@")[0]
        policies.kubectl(
            *("-n", NS, "create", "rolebinding", f"admin-{name}"),
            *("--clusterrole=cluster-admin", who),
        )
        can = ("auth", "can-i", "create", "deployments.modelyard.dev", "-n", NS, f"--as={user}")
        # The API server heeds a binding a moment after it has taken it.
        until(lambda can=can: not policies.run("kubectl", *can).returncode, what="the rights")
    return policies


@pytest.fixture
def made(users: Any, valid: Any, request: pytest.FixtureRequest) -> dict[str, Any]:
    """A Deployment that Ada has made."""
    name = request.node.name.partition("[")[0].replace("_", "-")[-50:].strip("-")
    one = valid("Deployment", name)
    users.create(one, impersonate=ADA)
    return one


def annotate(api: Any, name: str, user: str, **asked: str) -> None:
    pairs = [f"modelyard.dev/{key.replace('_', '-')}={value}" for key, value in asked.items()]
    api.kubectl("-n", NS, "annotate", "--overwrite", "mdep", name, *pairs, f"--as={user}")


def patch(api: Any, name: str, user: str, body: dict[str, Any]) -> None:
    text = json.dumps(body)
    api.kubectl("-n", NS, "patch", "mdep", name, "--type=merge", "-p", text, f"--as={user}")


def test_who_makes_it_is_noted(users: Any, made: Any) -> None:
    assert notes(users, made["metadata"]["name"]) == {"changed-by": ADA}


def test_who_changes_the_spec_is_noted_and_nobody_who_does_not(users: Any, made: Any) -> None:
    name = made["metadata"]["name"]
    users.kubectl("-n", NS, "label", "mdep", name, "team=shelves", f"--as={BOB}")
    assert notes(users, name) == {"changed-by": ADA}
    patch(users, name, BOB, {"spec": {"rollout": {"paused": True}}})
    assert notes(users, name) == {"changed-by": BOB}
    patch(users, name, ADA, {"spec": {"rollout": {"paused": True}}})
    assert notes(users, name) == {"changed-by": BOB}, "nothing was changed"


def test_an_autoscaler_is_not_noted(users: Any, made: Any) -> None:
    name = made["metadata"]["name"]
    users.kubectl("-n", NS, "scale", "mdep", name, "--replicas=3", f"--as={BOB}")
    assert users.get("mdep", NS, name)["spec"]["target"]["cluster"]["replicas"] == 3
    assert notes(users, name) == {"changed-by": ADA}


@pytest.mark.parametrize(
    "action",
    ["promote", "pause", "resume", "abort", "retry", "rollback", "drift-accept", "capture"],
)
def test_who_asks_for_an_action_is_noted(users: Any, valid: Any, action: str) -> None:
    name = f"action-{action}"
    users.create(valid("Deployment", name), impersonate=ADA)
    annotate(users, name, BOB, **{action: "1"})
    assert notes(users, name) == {"changed-by": ADA, action: "1", f"{action}-by": BOB}
    annotate(users, name, ADA, **{action: "1"})
    assert notes(users, name)[f"{action}-by"] == BOB, "the value is the same: it acts no more"
    annotate(users, name, ADA, **{action: "2"})
    assert notes(users, name)[f"{action}-by"] == ADA


def test_two_actions_at_once_and_a_name_of_each(users: Any, made: Any) -> None:
    name = made["metadata"]["name"]
    annotate(users, name, BOB, pause="1")
    annotate(users, name, ADA, promote="full@1", resume="1")
    assert notes(users, name) == {
        "changed-by": ADA,
        **{"pause": "1", "pause-by": BOB},
        **{"promote": "full@1", "promote-by": ADA},
        **{"resume": "1", "resume-by": ADA},
    }


def test_a_name_cannot_be_forged_when_it_is_made(users: Any, valid: Any) -> None:
    one = valid("Deployment", "forged-at-birth")
    one["metadata"]["annotations"] = {CHANGED: BOB, "modelyard.dev/abort-by": BOB, "mine": "kept"}
    users.create(one, impersonate=ADA)
    assert notes(users, "forged-at-birth") == {"changed-by": ADA}
    found = users.get("mdep", NS, "forged-at-birth")
    assert found["metadata"]["annotations"]["mine"] == "kept"


def test_a_name_cannot_be_forged_afterwards(users: Any, made: Any) -> None:
    name = made["metadata"]["name"]
    annotate(users, name, BOB, abort="1")
    before = notes(users, name)
    annotate(users, name, BOB, changed_by=BOB, abort_by=ADA, promote_by=ADA)
    assert notes(users, name) == before
    removed = {"metadata": {"annotations": {CHANGED: None, "modelyard.dev/abort-by": None}}}
    patch(users, name, BOB, removed)
    assert notes(users, name) == before
    patch(users, name, BOB, {"metadata": {"annotations": None}})
    assert notes(users, name) == {"changed-by": ADA, "abort-by": BOB}


def test_a_name_cannot_be_forged_with_a_change(users: Any, made: Any) -> None:
    name = made["metadata"]["name"]
    forged = {CHANGED: ADA, "modelyard.dev/pause": "1", "modelyard.dev/pause-by": ADA}
    change = {"metadata": {"annotations": forged}, "spec": {"rollout": {"paused": True}}}
    patch(users, name, BOB, change)
    assert notes(users, name) == {"changed-by": BOB, "pause": "1", "pause-by": BOB}


def test_a_status_changes_no_name(users: Any, made: Any) -> None:
    name = made["metadata"]["name"]
    body = json.dumps({"metadata": {"annotations": {CHANGED: BOB}}, "status": {"phase": "Healthy"}})
    subresource = ("--subresource=status", "--type=merge", "-p", body)
    for user in (BOB, OPERATOR):
        admin = [f"--as={user}"] if user == BOB else [f"--as={user}", "--as-group=system:masters"]
        users.kubectl("-n", NS, "patch", "mdep", name, *subresource, *admin)
        assert notes(users, name) == {"changed-by": ADA}


def test_a_long_name_is_cut(users: Any, valid: Any) -> None:
    user = f"{'ä' * 200}@example.com"
    one = valid("Deployment", "long-name")
    users.kubectl("create", "-f", "-", f"--as={user}", "--as-group=system:masters", stdin=one)
    assert notes(users, "long-name")["changed-by"] == "ä" * 128


# Whoever applies a manifest from Git, which knows nothing of these annotations.


def versions(api: Any, name: str) -> tuple[str, int]:
    found = api.get("mdep", NS, name)["metadata"]
    return found["resourceVersion"], found["generation"]


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(["apply", "--server-side", "--field-manager=argocd-controller"], id="server"),
        pytest.param(["apply"], id="client"),
    ],
)
def test_a_manifest_is_applied_again_and_again(users: Any, valid: Any, how: list[str]) -> None:
    name = f"applied-{len(how)}"
    manifest = valid("Deployment", name)

    def apply(user: str) -> str:
        return users.kubectl(*how, "-f", "-", f"--as={user}", stdin=manifest)

    apply(ADA)
    annotate(users, name, BOB, promote="step@1")
    before = versions(users, name)
    for user in (ADA, BOB):
        assert "serverside-applied" in apply(user) or "unchanged" in apply(user)
    assert versions(users, name) == before, "an unchanged manifest writes nothing"
    assert notes(users, name) == {"changed-by": ADA, "promote": "step@1", "promote-by": BOB}
    differ = users.run("kubectl", "diff", *how[1:], "-f", "-", f"--as={BOB}", stdin=manifest)
    assert (differ.returncode, differ.stdout) == (0, "")
    manifest["spec"]["rollout"] = {"paused": True}
    apply(BOB)
    assert notes(users, name)["changed-by"] == BOB
    before = versions(users, name)
    apply(ADA)
    assert versions(users, name) == before
    assert notes(users, name)["changed-by"] == BOB


def test_nobody_owns_what_was_stamped_on_an_applied_object(users: Any, valid: Any) -> None:
    """So no applier removes it, or is in conflict about it."""
    manifest = valid("Deployment", "owners")
    apply = ("apply", "--server-side", "-f", "-")
    users.kubectl(*apply, "--field-manager=flux", f"--as={ADA}", stdin=manifest)
    annotate(users, "owners", BOB, pause="1")
    found = json.loads(
        users.kubectl("-n", NS, "get", "mdep", "owners", "-o", "json", "--show-managed-fields")
    )
    owned = {
        entry["manager"]: set(
            entry["fieldsV1"].get("f:metadata", {}).get("f:annotations", {}).keys()
        )
        for entry in found["metadata"]["managedFields"]
    }
    assert not any(f"f:{CHANGED}" in fields for fields in owned.values()), owned
    assert not any("f:modelyard.dev/pause-by" in fields for fields in owned.values()), owned


def test_a_change_of_hands_keeps_the_names(users: Any, valid: Any) -> None:
    """From client-side to server-side apply, and to a plain replacement."""
    manifest = valid("Deployment", "hands")
    users.kubectl("apply", "-f", "-", f"--as={ADA}", stdin=manifest)
    users.kubectl("apply", "--server-side", "-f", "-", f"--as={BOB}", stdin=manifest)
    assert notes(users, "hands") == {"changed-by": ADA}
    users.kubectl("replace", "-f", "-", f"--as={BOB}", stdin=manifest)
    assert notes(users, "hands") == {"changed-by": ADA}
    other = copy.deepcopy(manifest)
    other["spec"]["rollout"] = {"historyLimit": 5}
    users.kubectl("replace", "-f", "-", f"--as={BOB}", stdin=other)
    assert notes(users, "hands") == {"changed-by": BOB}


def test_a_name_in_git_is_overruled(users: Any, valid: Any) -> None:
    manifest = valid("Deployment", "in-git")
    manifest["metadata"]["annotations"] = {CHANGED: "the pope"}
    for user in (ADA, BOB):
        users.kubectl("apply", "--server-side", "-f", "-", f"--as={user}", stdin=manifest)
        assert notes(users, "in-git") == {"changed-by": ADA}


def test_other_kinds_are_left_alone(users: Any, valid: Any) -> None:
    users.create(valid("TrainingJob", "unmarked"), impersonate=ADA)
    users.kubectl(*("-n", NS, "annotate", "tj", "unmarked", "modelyard.dev/retry=1", f"--as={BOB}"))
    found = users.get("tj", NS, "unmarked")["metadata"]["annotations"]
    assert found == {"modelyard.dev/retry": "1"}


def test_the_policy_is_of_the_stable_api_and_lets_nothing_pass_unstamped(users: Any) -> None:
    found = json.loads(users.kubectl("get", "mutatingadmissionpolicies", "-o", "json"))
    (policy,) = found["items"]
    assert policy["apiVersion"] == "admissionregistration.k8s.io/v1"
    assert policy["spec"]["failurePolicy"] == "Fail"
