"""Actions on a rollout: promote, pause, resume, abort, retry, rollback. Pure.

An action is an annotation of the Deployment, such as `modelyard.dev/promote`. The operator acts
once on each new value and then records it in `status.actions` (core/deployment/actions.py). This
module checks whether an action is possible in the current state, builds its annotation, and
describes the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from modelyard.api.rollbacktarget import rollback_target
from modelyard.api.rolloutstatus import ActionName, HaltReason
from modelyard.cli.errors import CliError
from modelyard.cli.kube import Object, name, status
from modelyard.cli.rolloutdraw import sentence
from modelyard.cli.rolloutview import View, view
from modelyard.contract.statustext import micro_timestamp

PREFIX = "modelyard.dev/"


@dataclass(frozen=True)
class Request:
    """An action on a Deployment."""

    action: ActionName
    argument: str
    """Argument of the action: step, full, or a version number."""

    def value(self, now: datetime) -> str:
        """The annotation's value; the time makes it unique."""
        return f"{self.argument}@{micro_timestamp(now)}"

    @property
    def annotation(self) -> str:
        """Key of the annotation."""
        return PREFIX + self.action


def promote(obj: Object, *, full: bool) -> Request:
    """Ends the pause and the analysis of the current stage, or skips all remaining ones. Raises
    CliError if no rollout is in progress, or it is paused by the spec."""
    seen = _in_progress(obj, ActionName.PROMOTE)
    if seen.halt is not None and seen.halt.reason == HaltReason.SPEC:
        raise CliError(_paused_by_spec(seen))
    return Request(ActionName.PROMOTE, "full" if full else "step")


def pause(obj: Object) -> Request:
    """Pauses the rollout. Raises CliError if none is in progress."""
    seen = _in_progress(obj, ActionName.PAUSE)
    if seen.halt is not None and seen.halt.reason in (HaltReason.REQUESTED, HaltReason.SPEC):
        raise CliError(f"Modelyard Deployment {seen.name} is paused already: {seen.halt.text}")
    return Request(ActionName.PAUSE, "pause")


def resume(obj: Object) -> Request:
    """Ends a requested pause. Raises CliError if there is none."""
    seen = _in_progress(obj, ActionName.RESUME)
    if seen.halt is None:
        raise CliError(f"Modelyard Deployment {seen.name} is not paused: {sentence(seen)}")
    if seen.halt.reason == HaltReason.SPEC:
        raise CliError(_paused_by_spec(seen))
    if seen.halt.reason == HaltReason.STEP:
        raise CliError(
            f"Modelyard Deployment {seen.name} is at the pause of a step: "
            f"`modelyard rollout promote {seen.name}` ends it"
        )
    return Request(ActionName.RESUME, "resume")


def abort(obj: Object) -> Request:
    """Goes back to stable. Raises CliError if no rollout is in progress."""
    _in_progress(
        obj, ActionName.ABORT, "; `modelyard rollout rollback` goes back to the version before it"
    )
    return Request(ActionName.ABORT, "abort")


def retry(obj: Object) -> Request:
    """Retries the rejected version. Raises CliError if none was rejected."""
    seen = view(obj)
    if not seen.rejected:
        raise CliError(
            f"there is nothing to retry in Modelyard Deployment {seen.name}: no version was "
            "rolled back"
        )
    return Request(ActionName.RETRY, str(seen.rejected.get("version")))


def rollback(obj: Object, version: int | None) -> Request:
    """Rolls back to a version, by default to the previous one. Raises CliError if there is none, or
    it is served already. `check_ready` checks that it is Ready."""
    seen, found = view(obj), status(obj)
    stable = (found.get("stable") or {}).get("version")
    if version is None:
        if seen.rolling:
            raise CliError(
                f"Modelyard Deployment {seen.name} is being rolled out from {seen.stable} to "
                f"{seen.candidate}: `modelyard rollout abort {seen.name}` goes back to "
                f"{seen.stable}; for another version, pass its number"
            )
        version = rollback_target(seen.history, stable) or _number(found.get("rollbackTarget"))
        if version is None:
            raise CliError(
                f"the history of Modelyard Deployment {seen.name} has no version before "
                f"{seen.stable or 'the first one'}: pass the number of a version"
            )
    if version == stable and not seen.rolling:
        raise CliError(f"Modelyard Deployment {seen.name} serves {seen.stable} already")
    return Request(ActionName.ROLLBACK, str(version))


def _number(model_version: str | None) -> int | None:
    """The number in a ModelVersion's name."""
    return int(model_version.rpartition("-")[2]) if model_version else None


def check_ready(obj: Object, number: int, versions: Iterable[Object]) -> None:
    """Raises CliError unless the number is a Ready version of the Deployment's model line.
    `versions`: the ModelVersions of the namespace."""
    line = obj["spec"]["modelLine"]
    own = [one for one in versions if one["spec"].get("modelLine") == line]
    one = next((v for v in own if v["spec"].get("version") == number), None)
    phase = status(one).get("phase") if one else None
    if phase == "Ready":
        return
    ready = sorted(v["spec"]["version"] for v in own if status(v).get("phase") == "Ready")
    listed = ", ".join(map(str, ready[-10:])) or "none"
    if one is None:
        raise CliError(f"model line {line} has no version {number}; Ready versions: {listed}")
    why = status(one).get("message")
    raise CliError(
        f"{name(one)} cannot be served, it is {phase or 'not reconciled yet'}"
        f"{f' ({why})' if why else ''}; Ready versions: {listed}"
    )


def acted_on(obj: Object, request: Request, value: str) -> bool:
    """Whether the operator has acted on an annotation's value."""
    return (status(obj).get("actions") or {}).get(request.action) == value


def result_text(request: Request, before: Object, after: Object) -> str:
    """Describes what an action did. Raises CliError if it had no effect."""
    was, seen = view(before), view(after)
    stage = seen.stage
    at = f"{stage.title}, {stage.done:,} of {stage.target:,} servers" if stage else ""
    if seen.halt is not None and seen.halt.reason in (HaltReason.STEP, HaltReason.INCONCLUSIVE):
        at += f"; {seen.halt.text}"
    text = ""
    if request.action == ActionName.PROMOTE:
        if not seen.rolling:
            text = f"serves {seen.stable}"
        elif request.argument == "full":
            text = f"rolls {seen.candidate} out to all servers without further pauses"
        elif stage and was.stage and stage.title != was.stage.title:
            text = f"goes on: {at}"
        elif stage and seen.halt is None:
            text = f"does not pause after {at}"
    elif request.action == ActionName.PAUSE and seen.halt is not None:
        text = f"is paused at {at}; `modelyard rollout resume {seen.name}` goes on"
    elif request.action == ActionName.RESUME and (
        seen.halt is None or seen.halt.reason != HaltReason.REQUESTED
    ):
        text = f"goes on: {at}" if at else f"serves {seen.stable}"
    elif request.action == ActionName.ABORT and seen.candidate != was.candidate:
        text = (
            f"goes back to {seen.stable}; {was.candidate} is not retried until "
            f"`modelyard rollout retry {seen.name}`, or a newer version is Ready"
        )
    elif request.action == ActionName.RETRY and seen.rolling:
        text = f"retries {seen.candidate}: {at}"
    elif request.action == ActionName.ROLLBACK:
        text = _rollback_text(request, after, seen, at)
    if not text:
        raise CliError(
            f"the operator has read the {request.action} of Modelyard Deployment {seen.name}, but "
            f"there was nothing left to do: {sentence(seen)}"
        )
    return f"Modelyard Deployment {seen.name} {text}"


def _rollback_text(request: Request, after: Object, seen: View, at: str) -> str:
    found, number = status(after), int(request.argument)
    if (found.get("candidate") or {}).get("version") == number:
        return f"goes from {seen.stable} to {seen.candidate}: {at}"
    if (found.get("stable") or {}).get("version") == number:
        return f"goes back to {seen.stable}"
    return ""


def _paused_by_spec(seen: View) -> str:
    return (
        f"Modelyard Deployment {seen.name} is paused by its spec: set spec.rollout.paused to false"
    )


def _in_progress(obj: Object, action: str, instead: str = "") -> View:
    seen = view(obj)
    if seen.rolling:
        return seen
    state = f"it serves {seen.stable}" if seen.stable else "it serves nothing yet"
    raise CliError(
        f"there is nothing to {action} in Modelyard Deployment {seen.name}: {state}, and no "
        f"rollout is in progress{instead}"
    )
