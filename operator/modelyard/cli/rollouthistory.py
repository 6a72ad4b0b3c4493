"""Which version was served when, from the history in Deployments and ModelServers. Pure.

The agent of each server records the versions that it has served (`status.history` of the
ModelServer, workloads/agent/status.py); the operator records ended rollouts (`status.history` of
the Deployment, core/deployment/history.py). `lineage` follows a version to its data, code and
weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelyard.cli import times
from modelyard.cli.kube import Object, name, status
from modelyard.contract import attribution

MAX_PERIODS = 10
"""Maximum number of former versions in a ModelServer's history."""


@dataclass(frozen=True)
class Period:
    """A period in which a server served one version."""

    model_version: str
    version: int
    digest: str
    since: str
    until: str | None
    """None: still served, by the server's last report."""


@dataclass(frozen=True)
class ServedAt:
    """What a server served at a point in time."""

    period: Period | None
    note: str
    """A limitation of the answer, or why it is not known."""


def periods(server: Object) -> list[Period]:
    """The versions that a server has served, the latest first."""
    found = status(server)
    loaded = found.get("loaded")
    made = [_period(loaded, None)] if loaded else []
    return made + [_period(one, one.get("until")) for one in found.get("history") or ()]


def _period(one: Mapping[str, Any], until: str | None) -> Period:
    return Period(
        model_version=str(one.get("modelVersion") or ""),
        version=int(one.get("version") or 0),
        digest=str(one.get("digest") or ""),
        since=str(one.get("since") or ""),
        until=until,
    )


def served_at(server: Object, at: datetime) -> ServedAt:
    """The version that a server served at a time in the past."""
    found = status(server)
    known = periods(server)
    for one in known:
        since, until = times.moment(one.since), times.moment(one.until)
        if since is None or since > at or (until is not None and until <= at):
            continue
        reported = times.moment(found.get("reportedAt"))
        if until is None and reported is not None and reported < at:
            return ServedAt(one, f"by its last report, of {times.local(reported)}")
        return ServedAt(one, "")
    return ServedAt(None, _unknown(server, known, at))


def _unknown(server: Object, known: list[Period], at: datetime) -> str:
    first = times.moment(known[-1].since) if known else None
    created = times.moment(server["metadata"].get("creationTimestamp"))
    if first is None:
        return "the server has not served any version yet"
    if at >= first:
        return "no version was served then: the server was between two versions, or down"
    text = f"the history begins at {times.local(first)}"
    if len(known) > MAX_PERIODS:
        return f"{text}: a server keeps the last {MAX_PERIODS} versions"
    if created is not None and created > at:
        return f"{text}: the server was created at {times.local(created)}"
    return text


def rolled_out_at(deployment: Object, at: datetime) -> tuple[int | None, str]:
    """The version that a Deployment had rolled out at a time in the past, with a note; None if the
    history does not go back that far."""
    found = status(deployment)
    running = found.get("rollout") or {}
    began = times.moment(running.get("startedAt"))
    stable = found.get("stable") or {}
    if began is not None and began <= at:
        going = (found.get("candidate") or {}).get("modelVersion")
        return stable.get("version"), f"{going} has been rolling out since {times.local(began)}"
    records = list(found.get("history") or ())
    for record in records:
        start, end = times.moment(record.get("startedAt")), times.moment(record.get("endedAt"))
        if start is None or end is None or start > at:
            continue
        succeeded = record.get("outcome") == "Succeeded"
        if at < end:
            return record.get("previous"), (
                f"{record.get('modelVersion')} was being rolled out, from {times.local(start)} to "
                f"{times.local(end)}: {record.get('outcome')}"
            )
        version = record.get("version") if succeeded else record.get("previous")
        ended = "had reached all servers" if succeeded else f"had ended ({record.get('outcome')})"
        return version, f"rollout {record.get('revision')} {ended} at {times.local(end)}"
    return _before_first_record(deployment, records, at)


def _before_first_record(
    deployment: Object, records: list[Mapping[str, Any]], at: datetime
) -> tuple[int | None, str]:
    """The version before the first rollout in the history."""
    found = status(deployment)
    created = times.moment(deployment["metadata"].get("creationTimestamp"))
    if created is not None and at < created:
        return (
            None,
            f"Modelyard Deployment {name(deployment)} was created at {times.local(created)}",
        )
    if not records:
        version = (found.get("stable") or {}).get("version")
        first = not found.get("revision") or found.get("rollout")
        return (version, "its first version") if version and first else (None, "not recorded")
    oldest = records[-1]
    start = times.moment(oldest.get("startedAt"))
    when = times.local(start) if start else "?"
    if oldest.get("revision") == 1 and oldest.get("previous"):
        return oldest["previous"], f"its first version, before rollout 1, which began at {when}"
    return None, (
        f"the history begins with rollout {oldest.get('revision')} at {when}, before which version "
        f"{oldest.get('previous') or 'unknown'} was served; spec.rollout.historyLimit sets how "
        "many rollouts are kept"
    )


def action_text(action: Mapping[str, Any]) -> str:
    """An action with its user, such as `promote by alice@example.com`."""
    return f"{action.get('action')}{attribution.by(action.get('by'), ' by ')}"


def cause_text(record: Mapping[str, Any]) -> str:
    """What started a rollout, and who; empty if it is not recorded."""
    trigger = str(record.get("trigger") or "")
    return f"{trigger}{attribution.by(record.get('by'))}" if trigger else ""


def lineage(
    version: Object | None, training: Object | None, wanted: str, digest: str
) -> dict[str, str]:
    """Data, code and weights of a version, in display order. `wanted` is the ModelVersion's name,
    `digest` that of the artifact that was served (empty: not known)."""
    if version is None:
        return {"version": f"ModelVersion {wanted} no longer exists"}
    spec, found = version["spec"], status(version)
    artifacts = found.get("artifacts") or []
    one = next((a for a in artifacts if a.get("digest") == digest), None)
    if digest and artifacts and one is None:
        return {"version": f"ModelVersion {wanted} was recreated since, with other artifacts"}
    origin = spec.get("lineage") or {}
    by = origin.get("trainingJob") or {}
    data, trained = spec.get("dataset") or {}, status(training or {}).get("datasetDigest")
    made: dict[str, str] = {}
    if one:
        made["format"] = f"{one.get('format')} ({one.get('name')})"
    made["weights"] = str((spec.get("weights") or {}).get("digest") or "")
    if trained:
        made["trained on"] = str(trained)
    made["evaluated on"] = f"{data.get('name')} {data.get('digest')}"
    if by:
        gone = "" if training is not None else ", which no longer exists"
        made["training"] = f"TrainingJob {by.get('name')}{gone}"
    made["code"] = str(origin.get("trainerImage") or "")
    made["fine-tuned from"] = str(origin.get("baseVersion") or "")
    made["started from"] = str(origin.get("initialWeightsDigest") or "")
    return {key: text for key, text in made.items() if text}


def trained_by(version: Object) -> tuple[str, str] | None:
    """Name and UID of the TrainingJob that produced a version, if there is one."""
    by = (version["spec"].get("lineage") or {}).get("trainingJob")
    return (str(by["name"]), str(by["uid"])) if by else None


def title(server: Object) -> str:
    """Name and node of a server."""
    node = server["spec"].get("nodeName")
    return f"{name(server)} on {node}" if node else name(server)
