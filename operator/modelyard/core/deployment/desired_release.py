"""Which release a Deployment is to serve: the spec's wish, unless it was rolled back.

A chain of questions: is a rollback by hand in force, which ModelVersion does the spec ask for
(Latest or pinned), may it serve, was it rejected. The first that has an answer decides. A rejected
release is identified by content, not by name, so that a version made again is tried again. How
servers get there: rollout.py; what the status names as served: current_release.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelyard.api.modelversion import ModelVersionPhase
from modelyard.api.rolloutstatus import ActionName, Override, RejectedVersion
from modelyard.contract.naming import version_name
from modelyard.contract.statustext import truncate
from modelyard.core import meta
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
    override: Override | None
    rejected: RejectedVersion | None
    trigger: str
    """What would have started a rollout to it, for people."""
    user: str | None = None
    """Who would have, if somebody did and it is known."""
    events: tuple[Event, ...] = ()


def desired_release(
    observed: Observed, actions: Actions, template: str, moment: datetime
) -> DesiredRelease:
    """The release to serve. `template` is the hash of edge pods' template."""
    asked = _wish(observed)
    number = None if isinstance(asked, Verdict) else int(asked["spec"]["version"])
    override = _in_force(observed.recorded.override, observed, number, _content(asked))
    rejected = observed.recorded.rejected
    trigger, user = _trigger(observed, number)
    refusal = _refused(observed, actions)
    if actions.rollback is not None and not refusal:
        override = Override(
            version=actions.rollback,
            instead_of=number or actions.rollback,
            content_digest=_content(observed.versions.get(actions.rollback)) or None,
            instead_of_content_digest=_content(asked) or None,
            at=moment,
            by=actions.users.get(ActionName.ROLLBACK),
        )
        rejected = None
    if ActionName.RETRY in actions:
        if actions.rollback is None:
            override = None
        if rejected is not None:
            trigger = f"retry of {rejected.model_version}"
            user = actions.users.get(ActionName.RETRY)
        rejected = None
    if override is not None:
        chosen = observed.versions.get(override.version)
        content = _content(chosen)
        if chosen is None or not _servable(observed, chosen):
            override = None
        elif (override.content_digest or content) != content:
            override = None  # A namesake is not what somebody went back to.
        else:
            asked = chosen
            trigger = f"rollback to version {override.version}"
            user = override.by
    events = (Event("Warning", "RollbackRefused", refusal),) if refusal else ()
    release = asked if isinstance(asked, Verdict) else _release(observed, asked, template)
    problem = release if isinstance(release, Verdict) else None
    if rejected is not None and isinstance(release, Release):
        if _is(rejected, release):
            problem = Verdict(rejected.reason, rejected.message, stalled=True, phase="Degraded")
        else:
            rejected = None
    wanted = release if isinstance(release, Release) and problem is None else None
    return DesiredRelease(wanted, problem, override, rejected, trigger, user, events)


def reject(release: Release, reason: str, message: str, moment: datetime) -> RejectedVersion:
    """The record of a release that was rolled back."""
    return RejectedVersion.model_validate(
        {
            "modelVersion": release.name,
            "version": release.version,
            "contentDigest": release.content,
            "pipeline": dict(release.pipeline) or None,
            "reason": reason,
            "message": truncate(message),
            "at": moment,
        }
    )


def _is(rejected: RejectedVersion, release: Release) -> bool:
    found = rejected.wire()
    if not rejected.content_digest:  # Of an operator that did not note contents yet.
        name = rejected.model_version
        return release_key(name, release.content, found.get("pipeline")) == release.key
    return key_of(found) == release.key


def _refused(observed: Observed, actions: Actions) -> str:
    """Why a rollback that somebody asks for cannot be done, for people."""
    if ActionName.ROLLBACK not in actions:
        return ""
    if actions.rollback is None:
        value = actions.asked[ActionName.ROLLBACK]
        return f"modelyard.dev/rollback={value} does not begin with a number"
    version = observed.versions.get(actions.rollback)
    name = version_name(observed.spec.model_line, actions.rollback)
    if version is None:
        return f"cannot roll back to {name}: it does not exist"
    phase = meta.status(version).get("phase")
    if phase != ModelVersionPhase.READY:
        return f"cannot roll back to {name}: it is {phase}, not Ready"
    if not _servable(observed, version):
        return f"cannot roll back to {name}: {_unvalidated(version).message}"
    return ""


def _servable(observed: Observed, version: KubeObject) -> bool:
    """Whether a version may be served: Ready, and evaluated where the spec does not do without."""
    if meta.status(version).get("phase") != ModelVersionPhase.READY:
        return False
    return observed.spec.allow_unvalidated or not _skipped(version)


def _skipped(version: KubeObject) -> str:
    """Why a version was not evaluated; empty if it was."""
    return str((version["spec"].get("evaluation") or {}).get("skip") or "")


def _unvalidated(version: KubeObject) -> Verdict:
    return Verdict(
        reasons.VERSION_UNVALIDATED,
        f"ModelVersion {meta.name(version)} was not evaluated ({_skipped(version)}): set "
        "spec.allowUnvalidated to serve it all the same",
    )


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
    override: Override | None, observed: Observed, number: int | None, content: str
) -> Override | None:
    """An earlier rollback by hand: in force until the wish is another one than it was then, by
    number or content, or, under policy Latest, a newer one."""
    if override is None or number is None:
        return override
    pinned = observed.spec.version.number is not None
    if number == override.instead_of:
        return override if (override.instead_of_content_digest or content) == content else None
    return override if not pinned and number < override.instead_of else None


def _wish(observed: Observed) -> KubeObject | Verdict:
    """The ModelVersion that the spec asks for."""
    number = observed.spec.version.number
    return _latest(observed) if number is None else _pinned(observed, number)


def _latest(observed: Observed) -> KubeObject | Verdict:
    ready = [n for n, v in observed.versions.items() if _servable(observed, v)]
    if ready:
        return observed.versions[max(ready)]
    line = observed.spec.model_line
    if not observed.versions:
        return Verdict(
            reasons.NO_READY_VERSION, f"waiting for a first version of model line {line}"
        )
    last = max(observed.versions)
    phase = meta.status(observed.versions[last]).get("phase") or "Pending"
    if phase == ModelVersionPhase.READY:
        return _unvalidated(observed.versions[last])
    return Verdict(
        reasons.NO_READY_VERSION,
        f"waiting for a Ready version of model line {line}: {version_name(line, last)} is {phase}",
    )


def _pinned(observed: Observed, number: int) -> KubeObject | Verdict:
    name = version_name(observed.spec.model_line, number)
    version = observed.versions.get(number)
    if version is None:
        return Verdict(
            reasons.VERSION_NOT_FOUND,
            f"spec.version.number pins ModelVersion {name}, which does not exist",
        )
    status = meta.status(version)
    phase = status.get("phase")
    if phase in (ModelVersionPhase.REJECTED, ModelVersionPhase.FAILED):
        return Verdict(
            reasons.VERSION_REJECTED,
            f"ModelVersion {name} is {phase} and is never served: {status.get('message', '')}",
            stalled=True,
        )
    if phase != ModelVersionPhase.READY:
        return Verdict(
            reasons.VERSION_NOT_READY,
            f"waiting for ModelVersion {name} to be Ready: it is "
            f"{phase or ModelVersionPhase.PENDING}",
        )
    if not _servable(observed, version):
        return _unvalidated(version)._replace(stalled=True)
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
