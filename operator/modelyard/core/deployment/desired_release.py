"""Which release a Deployment is to serve: the spec's wish, unless it was rolled back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.core import meta
from modelyard.core.conditions import cut, timestamp
from modelyard.core.deployment import reasons
from modelyard.core.deployment.actions import Actions, changed_by
from modelyard.core.deployment.observed import Observed
from modelyard.core.deployment.releases import Release, release_of
from modelyard.core.fleet.projections import content_digest, key_of, release_key
from modelyard.core.plan import Event, KubeObject
from modelyard.core.policy import Verdict


@dataclass(frozen=True)
class DesiredRelease:
    """What is to be served, and what of the status leads there."""

    release: Release | None
    """None if there is none to be served."""
    problem: Verdict | None
    """Why it is not what the spec asks for, or why there is none."""
    override: dict[str, Any] | None
    rejected: dict[str, Any] | None
    trigger: str
    """What would have started a rollout to it, for people."""
    user: str | None = None
    """Who would have, if somebody did and it is known."""
    events: tuple[Event, ...] = ()


def target(observed: Observed, actions: Actions, template: str, now: str) -> DesiredRelease:
    """The release to serve. `template` is the hash of edge pods' template."""
    status = meta.status(observed.obj)
    asked = _wish(observed)
    number = None if isinstance(asked, Verdict) else int(asked["spec"]["version"])
    override = _in_force(status.get("override"), observed, number, _content(asked))
    rejected = status.get("rejected")
    events: list[Event] = []
    trigger, user = _trigger(observed, number)
    if actions.rollback is not None:
        back = observed.versions.get(actions.rollback)
        refusal = _no_way_back(observed, actions.rollback, back)
        if refusal:
            events.append(Event("Warning", "RollbackRefused", refusal))
        else:
            instead = number or actions.rollback
            override = {"version": actions.rollback, "insteadOf": instead, "at": now}
            override |= {
                name: content
                for name, content in (
                    ("contentDigest", _content(back)),
                    ("insteadOfContentDigest", _content(asked)),
                )
                if content
            }
            if "rollback" in actions.users:
                override["by"] = actions.users["rollback"]
            rejected = None
    elif "rollback" in actions:
        text = f"modelyard.dev/rollback={actions.asked['rollback']} does not begin with a number"
        events.append(Event("Warning", "RollbackRefused", text))
    if "retry" in actions:
        if override is not None and actions.rollback is None:
            override = None
        if rejected is not None:
            trigger = f"retry of {rejected['modelVersion']}"
            user = actions.users.get("retry")
        rejected = None
    if override is not None:
        chosen = observed.versions.get(int(override["version"]))
        content = _content(chosen)
        if chosen is None or meta.status(chosen).get("phase") != "Ready":
            override = None
        elif override.get("contentDigest", content) != content:
            override = None  # A namesake is not what somebody went back to.
        else:
            asked = chosen
            trigger = f"rollback to version {override['version']}"
            user = override.get("by")
    release = asked if isinstance(asked, Verdict) else _release(observed, asked, template)
    if isinstance(release, Verdict):
        return DesiredRelease(None, release, override, rejected, trigger, user, tuple(events))
    if rejected is not None and _is(rejected, release):
        problem = Verdict(rejected["reason"], rejected["message"], stalled=True, phase="Degraded")
        return DesiredRelease(None, problem, override, rejected, trigger, user, tuple(events))
    return DesiredRelease(release, None, override, None, trigger, user, tuple(events))


def reject(release: Release, reason: str, message: str, now: Any) -> dict[str, Any]:
    """The api.rolloutstatus.RejectedVersion of a release that was rolled back."""
    return {
        "modelVersion": release.name,
        "version": release.version,
        "contentDigest": release.content,
        "pipeline": dict(release.pipeline),
        "reason": reason,
        "message": cut(message),
        "at": timestamp(now),
    }


def _is(rejected: Mapping[str, Any], release: Release) -> bool:
    if not rejected.get("contentDigest"):  # Of an operator that did not note contents yet.
        name = str(rejected["modelVersion"])
        return release_key(name, release.content, rejected.get("pipeline")) == release.key
    return key_of(rejected) == release.key


def _content(version: KubeObject | Verdict | None) -> str:
    """A ModelVersion's content digest; empty where there is none, or without artifacts."""
    if version is None or isinstance(version, Verdict):
        return ""
    artifacts = meta.status(version).get("artifacts")
    return content_digest(artifacts) if artifacts else ""


def _trigger(observed: Observed, number: int | None) -> tuple[str, str | None]:
    """What leads to the wish, and who."""
    pinned = observed.spec.version.number
    if pinned is not None:
        return f"spec.version pins version {pinned}", changed_by(observed.obj)
    return f"version {number} is Ready" if number else "the spec", None


def _in_force(
    override: Mapping[str, Any] | None, observed: Observed, number: int | None, content: str
) -> dict[str, Any] | None:
    """An earlier rollback by hand: in force until the wish is another one than it was then, by
    number or content, or, under policy Latest, a newer one."""
    if override is None or number is None:
        return dict(override) if override else None
    instead = int(override["insteadOf"])
    pinned = observed.spec.version.number is not None
    held = number == instead if pinned else number <= instead
    if number == instead and override.get("insteadOfContentDigest", content) != content:
        held = False
    return dict(override) if held else None


def _no_way_back(observed: Observed, number: int, version: KubeObject | None) -> str:
    name = f"{observed.spec.model_line}-{number}"
    if version is None:
        return f"cannot roll back to {name}: it does not exist"
    phase = meta.status(version).get("phase")
    return "" if phase == "Ready" else f"cannot roll back to {name}: it is {phase}, not Ready"


def _wish(observed: Observed) -> KubeObject | Verdict:
    """The ModelVersion that the spec asks for."""
    number = observed.spec.version.number
    return _latest(observed) if number is None else _pinned(observed, number)


def _latest(observed: Observed) -> KubeObject | Verdict:
    ready = [n for n, v in observed.versions.items() if meta.status(v).get("phase") == "Ready"]
    if ready:
        return observed.versions[max(ready)]
    line = observed.spec.model_line
    if not observed.versions:
        return Verdict(
            reasons.NO_READY_VERSION, f"waiting for a first version of model line {line}"
        )
    last = max(observed.versions)
    phase = meta.status(observed.versions[last]).get("phase") or "Pending"
    return Verdict(
        reasons.NO_READY_VERSION,
        f"waiting for a Ready version of model line {line}: {line}-{last} is {phase}",
    )


def _pinned(observed: Observed, number: int) -> KubeObject | Verdict:
    name = f"{observed.spec.model_line}-{number}"
    version = observed.versions.get(number)
    if version is None:
        return Verdict(
            reasons.VERSION_NOT_FOUND,
            f"spec.version.number pins ModelVersion {name}, which does not exist",
        )
    status = meta.status(version)
    phase = status.get("phase")
    if phase in ("Rejected", "Failed"):
        return Verdict(
            reasons.VERSION_REJECTED,
            f"ModelVersion {name} is {phase} and is never served: {status.get('message', '')}",
            stalled=True,
        )
    if phase != "Ready":
        return Verdict(reasons.VERSION_NOT_READY, f"waiting for ModelVersion {name} to be Ready")
    return version


def _release(observed: Observed, version: KubeObject, template: str) -> Release | Verdict:
    release = release_of(version, observed.pipeline, product=observed.product, template=template)
    if release is not None:
        return release
    return Verdict(
        reasons.NO_FITTING_ARTIFACT,
        f"ModelVersion {meta.name(version)} has no onnx artifact and no engine for the GPU "
        f"type of spec.server.scheduling.nodeSelector ({observed.product or 'none named'})",
        stalled=True,
    )
