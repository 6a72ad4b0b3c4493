"""What people ask of a rollout: whether it makes sense now, and what came of it. Pure.

An action is an annotation of the Deployment, `modelyard.dev/promote` and so on; the operator acts
once on each new value and then keeps it in status.actions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelyard.cli.errors import CliError
from modelyard.cli.kube import Object, name, status
from modelyard.cli.rolloutdraw import sentence
from modelyard.cli.rolloutview import View, view
from modelyard.contract.statustext import micro_timestamp

PREFIX = "modelyard.dev/"


@dataclass(frozen=True)
class Request:
    """An action on a Deployment."""

    action: str
    """promote, pause, resume, abort, retry or rollback."""
    word: str
    """What is asked for in particular: full, or a version number."""

    def value(self, now: datetime) -> str:
        """The annotation's value; the time makes it a new one."""
        return f"{self.word}@{micro_timestamp(now)}"

    @property
    def annotation(self) -> str:
        """The annotation that asks the operator for the action."""
        return PREFIX + self.action


def promote(obj: Object, *, full: bool) -> Request:
    """Ends the pause and the analysis of the present stage, or skips all that is left. Raises
    CliError where no rollout is going on, or the spec holds it."""
    seen = _rolling(obj, "promote")
    if seen.halt is not None and seen.halt.reason == "Spec":
        raise CliError(_held_by_spec(seen))
    return Request("promote", "full" if full else "step")


def pause(obj: Object) -> Request:
    """Holds the rollout where it is. Raises CliError where none is going on."""
    seen = _rolling(obj, "pause")
    if seen.halt is not None and seen.halt.reason in ("Requested", "Spec"):
        raise CliError(f"Modelyard Deployment {seen.name} is paused already: {seen.halt.text}")
    return Request("pause", "pause")


def resume(obj: Object) -> Request:
    """Ends a pause that was asked for. Raises CliError where there is none."""
    seen = _rolling(obj, "resume")
    if seen.halt is None:
        raise CliError(f"Modelyard Deployment {seen.name} is not paused: {sentence(seen)}")
    if seen.halt.reason == "Spec":
        raise CliError(_held_by_spec(seen))
    if seen.halt.reason == "Step":
        raise CliError(
            f"Modelyard Deployment {seen.name} is at the pause of a step: "
            f"`modelyard rollout promote {seen.name}` ends it"
        )
    return Request("resume", "resume")


def abort(obj: Object) -> Request:
    """Back to stable. Raises CliError where no rollout is going on."""
    _rolling(obj, "abort", "; `modelyard rollout rollback` goes back to the version before it")
    return Request("abort", "abort")


def retry(obj: Object) -> Request:
    """Tries the rejected version again. Raises CliError where none was rejected."""
    seen = view(obj)
    if not seen.rejected:
        raise CliError(
            f"there is nothing to try again in Modelyard Deployment {seen.name}: no version was "
            "rolled back"
        )
    return Request("retry", str(seen.rejected.get("version")))


def rollback(obj: Object, version: int | None) -> Request:
    """To a version, or to the one before the present one. Raises CliError where there is none, or
    it is served already. Whether it is Ready: see `check_ready`."""
    seen, found = view(obj), status(obj)
    stable = (found.get("stable") or {}).get("version")
    if version is None:
        if seen.rolling:
            raise CliError(
                f"Modelyard Deployment {seen.name} is on its way from {seen.stable} to "
                f"{seen.candidate}: `modelyard rollout abort {seen.name}` goes back to "
                f"{seen.stable}; to go to another version, name its number"
            )
        version = previous(seen.history, stable)
        if version is None:
            raise CliError(
                f"the history of Modelyard Deployment {seen.name} knows no version before "
                f"{seen.stable or 'the first one'}: name the number of the version to go to"
            )
    if version == stable and not seen.rolling:
        raise CliError(f"Modelyard Deployment {seen.name} serves {seen.stable} already")
    return Request("rollback", str(version))


def previous(history: Iterable[Mapping[str, Any]], stable: int | None) -> int | None:
    """The version that served before the present one, by the rollouts that ended (the latest
    first); None if they do not go back so far."""
    records = list(history)
    for record in records:
        if record.get("outcome") == "Succeeded" and record.get("version") != stable:
            return int(record["version"])
    for record in records:
        if record.get("outcome") == "Succeeded" and record.get("previous") is not None:
            before = int(record["previous"])
            if before != stable:
                return before
    return None


def check_ready(obj: Object, number: int, versions: Iterable[Object]) -> None:
    """Raises CliError unless this number is a Ready version of the Deployment's model line;
    `versions` are the ModelVersions of the namespace."""
    line = obj["spec"]["modelLine"]
    own = [one for one in versions if one["spec"].get("modelLine") == line]
    one = next((v for v in own if v["spec"].get("version") == number), None)
    phase = status(one).get("phase") if one else None
    if phase == "Ready":
        return
    ready = sorted(v["spec"]["version"] for v in own if status(v).get("phase") == "Ready")
    listed = ", ".join(map(str, ready[-10:])) or "none"
    if one is None:
        raise CliError(f"model line {line} has no version {number}; Ready are: {listed}")
    why = status(one).get("message")
    raise CliError(
        f"{name(one)} cannot be served, it is {phase or 'not looked at yet'}"
        f"{f' ({why})' if why else ''}; Ready are: {listed}"
    )


def heeded(obj: Object, request: Request, value: str) -> bool:
    """Whether the operator has acted on an annotation's value."""
    return (status(obj).get("actions") or {}).get(request.action) == value


def came_of(request: Request, before: Object, after: Object) -> str:
    """What an action did, for people. Raises CliError if it came too late to do anything."""
    was, seen = view(before), view(after)
    stage = seen.stage
    at = f"{stage.title}, {stage.done:,} of {stage.target:,} servers" if stage else ""
    if seen.halt is not None and seen.halt.reason in ("Step", "Inconclusive"):
        at += f"; {seen.halt.text}"
    text = ""
    if request.action == "promote":
        if not seen.rolling:
            text = f"serves {seen.stable}"
        elif request.word == "full":
            text = f"takes {seen.candidate} to all servers without further stops"
        elif stage and was.stage and stage.title != was.stage.title:
            text = f"goes on: {at}"
        elif stage and seen.halt is None:
            text = f"does not stop after {at}"
    elif request.action == "pause" and seen.halt is not None:
        text = f"is paused at {at}; `modelyard rollout resume {seen.name}` goes on"
    elif request.action == "resume" and (seen.halt is None or seen.halt.reason != "Requested"):
        text = f"goes on: {at}" if at else f"serves {seen.stable}"
    elif request.action == "abort" and seen.candidate != was.candidate:
        text = (
            f"goes back to {seen.stable}; {was.candidate} is not tried again until "
            f"`modelyard rollout retry {seen.name}`, or a newer version is Ready"
        )
    elif request.action == "retry" and seen.rolling:
        text = f"tries {seen.candidate} again: {at}"
    elif request.action == "rollback":
        text = _went_back(request, after, seen, at)
    if not text:
        raise CliError(
            f"the operator has read the {request.action} of Modelyard Deployment {seen.name}, but "
            f"there was nothing left to do: {sentence(seen)}"
        )
    return f"Modelyard Deployment {seen.name} {text}"


def _went_back(request: Request, after: Object, seen: View, at: str) -> str:
    found, number = status(after), int(request.word)
    if (found.get("candidate") or {}).get("version") == number:
        return f"goes from {seen.stable} to {seen.candidate}: {at}"
    if (found.get("stable") or {}).get("version") == number:
        return f"goes back to {seen.stable}"
    return ""


def _held_by_spec(seen: View) -> str:
    return (
        f"Modelyard Deployment {seen.name} is paused by its spec: set spec.rollout.paused to false"
    )


def _rolling(obj: Object, action: str, instead: str = "") -> View:
    seen = view(obj)
    if seen.rolling:
        return seen
    state = f"it serves {seen.stable}" if seen.stable else "it serves nothing yet"
    raise CliError(
        f"there is nothing to {action} in Modelyard Deployment {seen.name}: {state}, and no "
        f"rollout is going on{instead}"
    )
