"""Every field of every kind, as Acto does it (SOSP'23): wrong values are refused or told, and
what a change leads to is what a fresh object leads to."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ...kinds import CHANGEABLE, IMMUTABLE, RECONCILED
from .cases import all_leaves, is_omitted, shown
from .conftest import Outcome
from .experiment import Tried, told
from .state import condition
from .values import plan
from .walking import Leaf, look

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
LEAVES = all_leaves()
ENGINE = {"NameTaken", "Forbidden", "Refused", "InternalError"}
"""Reasons with which the engine tells that it could not carry out what a spec asks for."""
LATE = {
    "suspend": "stops and resumes a started training",
    "hyperparameters": "CEL cannot compare what a schema does not know; the status tells instead",
    "resources": "can be corrected until the pod has started, which none has here",
    "scheduling": "likewise",
    "image": "likewise",
}
"""Fields of a TrainingJob that a started one still takes."""


def each_leaf(*kinds: str) -> Any:
    chosen = [leaf for leaf in LEAVES if not kinds or leaf.kind in kinds]
    return pytest.mark.parametrize("leaf", chosen, ids=str)


def accepted(outcome: Outcome, leaf: Leaf) -> list[Tried]:
    return [one for one in outcome.record.tried[leaf] if one.trial.reason is None]


def problems(found: list[str]) -> None:
    assert not found, "\n".join(found)


@each_leaf()
def test_has_valid_boundary_and_invalid_values(leaf: Leaf) -> None:
    one = plan(leaf)
    missing = [m for m in one.values.missing() if not (m == "invalid" and one.unrefused)]
    assert not missing, (
        f"{leaf} has no {', '.join(missing)} value: give its schema bounds, an enumeration or a "
        "pattern of PATTERNS, or give it an entry in values.py"
    )


@each_leaf()
def test_invalid_values_are_refused_by_name(outcome: Outcome, leaf: Leaf) -> None:
    found = []
    for asked, status, answer in outcome.record.asked:
        if asked.leaf != leaf or asked.valid:
            continue
        message = answer.get("message", "")
        if status not in (400, 422):
            found.append(f"{shown(asked.value)}: not refused ({status})")
        elif not names(leaf, answer):
            found.append(f"{shown(asked.value)}: the refusal does not name it: {message}")
    problems(found)


def names(leaf: Leaf, answer: Any) -> bool:
    """Whether a refusal points at a leaf: by its path, or by a rule around it that says its
    name."""
    message = answer.get("message", "")
    for cause in (answer.get("details") or {}).get("causes") or ():
        at, text = cause.get("field", ""), cause.get("message", "")
        parent = leaf.pointer.startswith(at)
        if at.startswith(leaf.pointer) or (parent and re.search(rf"\b{leaf.name}\b", text)):
            return True
    # A body that cannot be decoded has no causes.
    return leaf.pointer in message


def test_unknown_properties_are_refused_by_name(outcome: Outcome) -> None:
    assert len(outcome.record.strangers) > 20
    problems(
        [
            f"{kind} {field}: {status} {answer.get('message')}"
            for kind, field, status, answer in outcome.record.strangers
            if status != 400 or f'unknown field "{field}"' not in answer["message"]
        ]
    )


@each_leaf()
def test_valid_values_are_kept_as_they_are(outcome: Outcome, leaf: Leaf) -> None:
    found = []
    for one in accepted(outcome, leaf):
        for arm in (one.fresh, one.changed):
            if arm is None:
                continue
            if arm.refused:
                found.append(f"{one.trial.id}: refused: {arm.refused}")
                continue
            if not kept(one.trial.value, look(arm.stored, leaf.path)):
                found.append(f"{one.trial.id}: became {shown(look(arm.stored, leaf.path))}")
    for asked, status, answer in outcome.record.asked:
        if asked.leaf != leaf or not asked.valid:
            continue
        if status != 201 or not kept(asked.value, look(answer["spec"], leaf.path)):
            found.append(f"{shown(asked.value)}: {status} {answer.get('message', '')}")
    problems(found)


def kept(sent: Any, stored: Any) -> bool:
    """Whether a value is stored as it was sent; objects may have gained their defaults."""
    if isinstance(sent, list) and isinstance(stored, list):
        return len(sent) == len(stored) and all(map(kept, sent, stored))
    if isinstance(sent, dict) and isinstance(stored, dict):
        return all(key in stored and kept(value, stored[key]) for key, value in sent.items())
    return type(sent) is type(stored) and sent == stored


@each_leaf(*RECONCILED)
def test_valid_values_are_carried_out(outcome: Outcome, leaf: Leaf) -> None:
    found = []
    for one in accepted(outcome, leaf):
        for arm in (one.fresh, one.changed):
            if arm is None or arm.refused:
                continue
            stalled = condition(arm.seen, "Stalled")
            if not arm.seen.get("status", {}).get("conditions"):
                found.append(f"{one.trial.id}: no conditions")
            elif stalled and stalled["reason"] in ENGINE:
                found.append(f"{one.trial.id}: {stalled['reason']}: {stalled['message']}")
    problems(found)


@each_leaf(*CHANGEABLE)
def test_a_change_leads_where_a_fresh_object_leads(outcome: Outcome, leaf: Leaf) -> None:
    found = []
    for one in accepted(outcome, leaf):
        found += [f"{one.trial.id}: fresh / changed: {line}" for line in one.unlike[:5]]
    problems(found)


@each_leaf(*CHANGEABLE)
def test_a_value_makes_a_difference(outcome: Outcome, leaf: Leaf) -> None:
    """A field that changes nothing is one that the operator has forgotten."""
    if plan(leaf).silent:
        return
    tried = accepted(outcome, leaf)
    assert any(one.reference and one.fresh.state != one.reference.state for one in tried)


TROUBLED = [leaf for leaf in LEAVES if plan(leaf).values.troubled]


@pytest.mark.parametrize("leaf", TROUBLED, ids=str)
def test_wrong_values_are_told_and_can_be_put_right(outcome: Outcome, leaf: Leaf) -> None:
    found = []
    for one in outcome.record.tried[leaf]:
        trial = one.trial
        if trial.reason is None:
            continue
        for obj in one.told:
            if not told(obj, trial.reason):
                found.append(f"{trial.id}: no condition {trial.reason}: {obj.get('status')}")
            elif leaf.name not in obj["status"]["message"]:
                found.append(f"{trial.id}: not named in: {obj['status']['message']}")
        found += [f"{trial.id}: never wrong / put right: {line}" for line in one.unlike[:5]]
    problems(found)


@each_leaf("TrainingJob", *IMMUTABLE)
def test_what_cannot_change_any_more_is_refused_by_name(outcome: Outcome, leaf: Leaf) -> None:
    if leaf.kind == "TrainingJob" and re.split(r"[.\[{]", leaf.path)[0] in LATE:
        return
    found = []
    for one in accepted(outcome, leaf):
        assert one.reference is not None
        assert one.frozen is not None
        if look(one.reference.stored, leaf.path) == one.trial.value:
            continue
        status, answer = one.frozen
        message = answer.get("message", "")
        wanted = f"a {leaf.kind} is immutable"
        if leaf.kind == "TrainingJob":
            head = re.split(r"[.\[{]", leaf.path)[0]
            wanted = f"spec.{head} cannot change once the training has started"
        if status != 422 or wanted not in message:
            found.append(f"{one.trial.id}: {status} {message}")
    problems(found)


IMMUTABLE = [leaf for leaf in LEAVES if leaf.immutable]


@pytest.mark.parametrize("leaf", IMMUTABLE, ids=str)
def test_what_never_changes_is_refused_by_name(outcome: Outcome, leaf: Leaf) -> None:
    refused = 0
    for one in accepted(outcome, leaf):
        assert one.reference is not None
        assert one.frozen is not None
        if look(one.reference.stored, leaf.path) == one.trial.value:
            continue
        status, answer = one.frozen
        refused += 1
        assert (status, names(leaf, answer)) == (422, True), answer.get("message")
    assert refused


def test_hyperparameters_that_come_too_late_are_told(outcome: Outcome) -> None:
    message = outcome.record.late_edit["status"]["message"]
    assert "spec was edited after the start: this run keeps what it was started with" in message


def test_the_operator_took_it_calmly(outcome: Outcome) -> None:
    assert outcome.exit_code is None, "the operator ended"
    log = outcome.log
    assert log.count("message=synced") == 1, "the operator started more than once"
    assert "Traceback" not in log, log[log.find("Traceback") - 500 :][:3000]
    loud = [line for line in log.splitlines() if re.search(r"\blevel=(error|critical)\b", line)]
    problems(loud[:10])


def test_no_leaf_is_left_out(outcome: Outcome) -> None:
    assert set(outcome.record.tried) == set(LEAVES)
    assert not any(is_omitted(one.trial.value) for many in outcome.record.tried.values()
                   for one in many)  # fmt: skip
