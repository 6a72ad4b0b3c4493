"""What can be asked of a rollout when, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.api.rollbacktarget import rollback_target
from modelyard.api.rolloutstatus import ActionName
from modelyard.cli import rolloutactions as actions
from modelyard.cli.errors import CliError

from .rollouts import HISTORY, NOW, at, deployment, record, rolling, version

RESTING = deployment(phase="Healthy", history=HISTORY)
AT_PAUSE = rolling("Step", 2, target=28, done=28, paused={"reason": "Step", "since": at(9)})
HELD = rolling("Step", 2, paused={"reason": "Requested", "since": at(9)})
HELD_BY_SPEC = rolling("Step", 2, paused={"reason": "Spec", "since": at(9)})
UNCLEAR = rolling("Step", 2, paused={"reason": "Inconclusive", "since": at(9)})
REJECTED = deployment(phase="Degraded", rejected=version(5) | {"reason": "Aborted", "at": at(9)})


def mv(number: int, phase: str = "Ready", line: str = "shelf", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{line}-{number}", "namespace": "vision"},
        "spec": {"modelLine": line, "version": number},
        "status": {"phase": phase, **more},
    }


@pytest.mark.parametrize(
    ("request_", "annotation", "begins"),
    [
        (
            actions.promote(AT_PAUSE, full=False),
            "modelyard.dev/promote",
            "step@2026-11-17T10:00:00",
        ),
        (actions.promote(UNCLEAR, full=False), "modelyard.dev/promote", "step@"),
        (actions.promote(rolling("Shadow", None), full=False), "modelyard.dev/promote", "step@"),
        (actions.promote(rolling(), full=True), "modelyard.dev/promote", "full@"),
        (actions.pause(rolling()), "modelyard.dev/pause", "pause@"),
        (actions.resume(HELD), "modelyard.dev/resume", "resume@"),
        (actions.resume(UNCLEAR), "modelyard.dev/resume", "resume@"),
        (actions.abort(rolling()), "modelyard.dev/abort", "abort@"),
        (actions.retry(REJECTED), "modelyard.dev/retry", "5@"),
        (actions.rollback(RESTING, 2), "modelyard.dev/rollback", "2@"),
        (actions.rollback(RESTING, None), "modelyard.dev/rollback", "3@"),
        (actions.rollback(rolling(), 2), "modelyard.dev/rollback", "2@"),
    ],
)
def test_an_action_is_an_annotation(
    request_: actions.Request, annotation: str, begins: str
) -> None:
    assert request_.annotation == annotation
    assert request_.value(NOW).startswith(begins)
    assert len(request_.value(NOW)) < 63


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: actions.promote(RESTING, full=False),
            "nothing to promote in Modelyard Deployment cameras: it serves shelf-4, and no rollout",
        ),
        (lambda: actions.promote(HELD_BY_SPEC, full=False), "set spec.rollout.paused to false"),
        (lambda: actions.promote(HELD_BY_SPEC, full=True), "set spec.rollout.paused to false"),
        (lambda: actions.pause(RESTING), "nothing to pause"),
        (lambda: actions.pause(HELD), "is paused already"),
        (lambda: actions.resume(RESTING), "nothing to resume"),
        (lambda: actions.resume(rolling()), "is not paused: Progressing"),
        (lambda: actions.resume(HELD_BY_SPEC), "set spec.rollout.paused to false"),
        (lambda: actions.resume(AT_PAUSE), "`modelyard rollout promote cameras` ends it"),
        (lambda: actions.abort(RESTING), "`modelyard rollout rollback` goes back"),
        (lambda: actions.retry(RESTING), "nothing to retry"),
        (lambda: actions.rollback(RESTING, 4), "serves shelf-4 already"),
        (
            lambda: actions.rollback(rolling(), None),
            "is being rolled out from shelf-4 to shelf-5: `modelyard rollout abort cameras`",
        ),
        (
            lambda: actions.rollback(deployment(phase="Healthy"), None),
            "has no version before shelf-4: pass the number",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(ask: Any, message: str) -> None:
    with pytest.raises(CliError) as error:
        ask()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("history", "stable", "wanted"),
    [
        (HISTORY, 4, 3),
        (HISTORY, 3, 4),
        ([record(1, 4, "Succeeded", 9999)], 4, 3),
        ([record(1, 5, "RolledBack", 9999)], 4, None),
        ([], 4, None),
    ],
)
def test_the_version_before(history: Any, stable: int, wanted: int | None) -> None:
    assert rollback_target(history, stable) == wanted


def test_a_target_that_the_history_has_forgotten_is_gone_back_to() -> None:
    failed = [record(1, 5, "RolledBack", 9999)]
    resting = deployment(phase="Healthy", history=failed, rollbackTarget="shelf-3")
    assert actions.rollback(resting, None).argument == "3"


def test_only_ready_versions_are_gone_back_to() -> None:
    versions = [mv(1), mv(2, "Rejected", message="mAP50 0.4"), mv(3), mv(7, line="other")]
    actions.check_ready(RESTING, 3, versions)
    with pytest.raises(CliError, match=r"shelf-2 cannot be served, it is Rejected \(mAP50 0.4\)"):
        actions.check_ready(RESTING, 2, versions)
    with pytest.raises(CliError, match="shelf has no version 7; Ready versions: 1, 3"):
        actions.check_ready(RESTING, 7, versions)


def test_heeded_is_the_very_value() -> None:
    request = actions.abort(rolling())
    value = request.value(NOW)
    assert not actions.acted_on(RESTING, request, value)
    assert not actions.acted_on(deployment(actions={"abort": "abort@before"}), request, value)
    assert actions.acted_on(deployment(actions={"abort": value}), request, value)


NEXT = rolling("Step", 3, target=1240, done=0)


@pytest.mark.parametrize(
    ("request_", "before", "after", "told"),
    [
        (
            actions.Request(ActionName.PROMOTE, "step"),
            AT_PAUSE,
            NEXT,
            "goes on: pool north, 0 of 1,240",
        ),
        (
            actions.Request(ActionName.PROMOTE, "full"),
            AT_PAUSE,
            NEXT,
            "rolls shelf-5 out to all servers without further pauses",
        ),
        (actions.Request(ActionName.PROMOTE, "step"), AT_PAUSE, RESTING, "serves shelf-4"),
        (
            actions.Request(ActionName.PROMOTE, "step"),
            rolling(),
            rolling(),
            "does not pause after pool north, 312 of 1,240 servers",
        ),
        (
            actions.Request(ActionName.RESUME, "resume"),
            HELD,
            AT_PAUSE,
            "goes on: pool lab, 28 of 28 servers; waits for a promote",
        ),
        (
            actions.Request(ActionName.PAUSE, "pause"),
            rolling(),
            HELD,
            "is paused at pool lab, 312 of 1,240 servers; `modelyard rollout resume cameras`",
        ),
        (actions.Request(ActionName.RESUME, "resume"), HELD, rolling(), "goes on: pool north"),
        (
            actions.Request(ActionName.ABORT, "abort"),
            rolling(),
            REJECTED,
            "goes back to shelf-4; shelf-5 is not retried until `modelyard rollout retry",
        ),
        (
            actions.Request(ActionName.RETRY, "5"),
            REJECTED,
            rolling("Prestage", None, done=0),
            "retries shelf-5: prestage, 0 of 1,240 servers",
        ),
        (
            actions.Request(ActionName.ROLLBACK, "5"),
            RESTING,
            rolling("Step", 1, done=0),
            "goes from shelf-4 to shelf-5: 1 % of servers, 0 of 1,240",
        ),
        (actions.Request(ActionName.ROLLBACK, "4"), rolling(), RESTING, "goes back to shelf-4"),
    ],
)
def test_what_came_of_it(request_: Any, before: Any, after: Any, told: str) -> None:
    text = actions.result_text(request_, before, after)
    assert text.startswith("Modelyard Deployment cameras ")
    assert told in text


@pytest.mark.parametrize(
    ("request_", "before", "after"),
    [
        (actions.Request(ActionName.PAUSE, "pause"), rolling(), RESTING),
        (actions.Request(ActionName.ABORT, "abort"), rolling(), rolling()),
        (actions.Request(ActionName.PROMOTE, "step"), AT_PAUSE, AT_PAUSE),
        (actions.Request(ActionName.ROLLBACK, "2"), RESTING, RESTING),
    ],
)
def test_what_came_too_late_is_said(request_: Any, before: Any, after: Any) -> None:
    with pytest.raises(CliError, match="but there was nothing left to do: "):
        actions.result_text(request_, before, after)
