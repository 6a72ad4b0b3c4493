"""What a fleet reads of each object, as small values that can be compared.

What a server holds is identified by content, not by name: a ModelVersion that was deleted and made
again under the same name with other weights is another one (see `content_digest`).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from modelyard.api.pipeline import Pipeline
from modelyard.contract import labels
from modelyard.core import meta
from modelyard.core.conditions import find, is_true, parse_timestamp
from modelyard.core.fleet import monitored
from modelyard.core.fleet.driftcount import NOTHING, DriftFact, read_drift
from modelyard.core.fleet.figures import Sums, read_figures, read_shadow
from modelyard.core.modelversion.resources import GPU_PRODUCT_LABEL
from modelyard.core.plan import KubeObject
from modelyard.core.podstate import Trouble, pod_fate, pod_trouble

ZONE_LABEL = "topology.kubernetes.io/zone"

SPEC_FIELDS = ("assigned", "staged", "shadow", "reportSeconds")
"""Fields of a ModelServer's spec that a decision may have to write again as they are."""

_DEFAULTS = Pipeline()


_CONTENT_DIGITS = 32
"""Hexadecimal digits of a content digest that release keys carry: 128 bits."""


class Side(StrEnum):
    """What a server does with a version beside the assigned one."""

    NONE = ""
    WANTED = "wanted"
    DONE = "done"
    """It has fetched it."""
    RUNNING = "running"
    """It shadows it."""
    FAILED = "failed"


def content_digest(artifacts: Iterable[Mapping[str, Any]]) -> str:
    """What a version consists of: a digest over the digests of its artifacts and their manifests.

    Nodes with other hardware hold other artifacts of one version, so no single artifact tells
    versions apart. Neither order nor names of the artifacts matter.
    """
    pairs = sorted({f"{one['digest']} {one['manifestDigest']}" for one in artifacts})
    return "sha256:" + hashlib.sha256("\n".join(pairs).encode()).hexdigest()


def content_of(held: Mapping[str, Any]) -> str:
    """The content digest of what an assignment, a server or a status names; where none was noted,
    that of a version with this one artifact."""
    noted = held.get("contentDigest")
    if noted:
        return str(noted)
    if held.get("digest") and held.get("manifestDigest"):
        return content_digest([held])
    return str(held.get("digest") or "")


def release_key(model_version: str, content: str, pipeline: Mapping[str, Any] | None) -> str:
    """What a server can hold: a ModelVersion's name and content with the pipeline settings around
    it, as one comparable text of these parts with colons between; the name comes first."""
    one = pipeline or {}
    confidence = float(one.get("confidence", _DEFAULTS.confidence))
    iou = float(one.get("iou", _DEFAULTS.iou))
    limit = int(one.get("maxDetections", _DEFAULTS.max_detections))
    digits = content.removeprefix("sha256:")[:_CONTENT_DIGITS]
    return f"{model_version}:{digits}:{confidence:g}:{iou:g}:{limit}"


def key_of(held: Mapping[str, Any]) -> str:
    """The release key of an assignment, of what a server has loaded, or of what was rejected."""
    return release_key(str(held["modelVersion"]), content_of(held), held.get("pipeline"))


def name_in(key: str) -> str:
    """The ModelVersion's name in a release key."""
    return key.partition(":")[0]


def version_in(key: str) -> str:
    """Name and content in a release key, without the pipeline settings."""
    return ":".join(key.split(":")[:2])


@dataclass(frozen=True, slots=True)
class PodFact:
    """A serving pod."""

    name: str
    uid: str
    node: str
    ready: bool
    template: str
    """Hash of the template that an edge pod was made from."""
    trouble: tuple[str, str] | None
    """Reason and words, if the pod cannot run."""
    serves: str | None = None
    """Its label that says, behind a Gateway, what answers there; None without the label."""
    made: float = 0.0
    """When it was made: seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class ServerFact:
    """A ModelServer: what it must hold and what it says that it holds."""

    name: str
    uid: str
    pod: str
    node: str
    pool: str
    assigned: str
    """Release key."""
    holds: bool
    """Whether requests are answered by the assigned artifact with the assigned settings."""
    loaded: str
    """Release key of what answers; empty if nothing does."""
    failure: str
    """Why the assigned version could not be loaded, if the agent says so of this assignment."""
    staged: tuple[str, Side]
    """Release key of spec.staged, and how far it is."""
    shadow: tuple[str, Side]
    """Release key of spec.shadow, and how far it is."""
    report: str
    """Another text for each report of the agent; empty if there never was one."""
    written: float
    """When the status was written last, as far as that is noted (see arrival): seconds since the
    epoch."""
    made: float
    """When the object was made: seconds since the epoch."""
    figures: Sums | None
    """What the held version did lately."""
    shadow_figures: Sums | None
    spec: str = "{}"
    """What the operator wrote into the spec, as JSON: SPEC_FIELDS. One text for all servers of
    which the same is wanted, so thousands cost as much memory as one."""
    problem: str = ""
    """Why spec.staged could not be fetched, or spec.shadow not be run."""
    monitoring: str = ""
    """spec.monitoring as comparable text; empty for none."""
    drift: DriftFact = NOTHING
    """What it reports of monitoring."""

    def spec_field(self, field: str) -> Any:
        """A field of SPEC_FIELDS; None if the spec does not have it."""
        return json.loads(self.spec).get(field)


@dataclass(frozen=True, slots=True)
class NodeFact:
    """A node."""

    name: str
    labels: Mapping[str, str]
    ready: bool
    since: str = ""
    """When that changed last (RFC 3339)."""
    why: str = ""
    """Kubernetes' reason."""

    @property
    def product(self) -> str:
        """GPU type, empty without one."""
        return self.labels.get(GPU_PRODUCT_LABEL, "")


def read_pod(pod: KubeObject) -> PodFact | None:
    """A serving pod; None for one that serves no more, or is none."""
    if meta.deleting(pod):
        return None
    carried = pod["metadata"].get("labels") or {}
    if carried.get(labels.COMPONENT) != "server":
        return None
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return None
    ready = is_true(pod, "Ready")
    return PodFact(
        name=meta.name(pod),
        uid=meta.uid(pod),
        node=node_of(pod.get("spec") or {}),
        ready=ready,
        template=str(carried.get(labels.TEMPLATE) or ""),
        trouble=None if ready else pod_trouble(pod),
        serves=carried.get(labels.SERVES),
        made=_seconds(pod["metadata"].get("creationTimestamp")),
    )


class Ended(NamedTuple):
    """A serving pod that its node ended, or refused. The pod stays, and another one is made."""

    made: float
    """Seconds since the epoch."""
    fate: Trouble


def read_ended(pod: KubeObject) -> Ended | None:
    """A serving pod that failed; None for any other."""
    fate = None if meta.deleting(pod) else pod_fate(pod)
    return Ended(_seconds(pod["metadata"].get("creationTimestamp")), fate) if fate else None


def node_of(spec: KubeObject) -> str:
    """Where a pod runs, or where the DaemonSet's controller wants it that made it: an edge server's
    pod that fits its node no longer must not go unseen. Empty for a pod that may go anywhere."""
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""


def read_server(server: KubeObject) -> ServerFact | None:
    """A ModelServer; None for one that is being deleted."""
    if meta.deleting(server):
        return None
    spec, status = server["spec"], meta.status(server)
    assigned = spec["assigned"]
    key = key_of(assigned)
    loaded = status.get("loaded") or {}
    holds = bool(loaded) and _is_assigned(loaded, assigned)
    held = key if holds else key_of(loaded) if loaded else ""
    current = status.get("observedGeneration") == meta.generation(server)
    failed = current and status.get("phase") == "Failed" and not holds
    figures = status.get("figures")
    reported_at, noted = status.get("reportedAt") or "", status_written(server["metadata"])
    return ServerFact(
        name=meta.name(server),
        uid=meta.uid(server),
        pod=str(spec.get("podName") or ""),
        node=str(spec.get("nodeName") or ""),
        pool=str(spec.get("pool") or ""),
        assigned=key,
        holds=holds,
        loaded=held,
        failure=str(status.get("message") or "no reason given") if failed else "",
        staged=_state(spec.get("staged"), status.get("staged"), Side.DONE),
        shadow=_state(
            (spec.get("shadow") or {}).get("version"), status.get("shadow"), Side.RUNNING
        ),
        # Agents alone write the status.
        report=f"{reported_at} {noted}" if status else "",
        written=_seconds(noted or reported_at),
        made=_seconds(server["metadata"].get("creationTimestamp")),
        figures=read_figures(figures)
        if holds and figures and figures.get("version") == assigned["version"]
        else None,
        shadow_figures=read_shadow(status.get("shadow")) if spec.get("shadow") else None,
        spec=sys.intern(json.dumps({k: spec[k] for k in SPEC_FIELDS if k in spec})),
        problem=_problem(spec, status),
        monitoring=monitored.read(spec.get("monitoring")),
        drift=read_drift(status),
    )


def _problem(spec: KubeObject, status: KubeObject) -> str:
    for field in ("staged", "shadow"):
        if spec.get(field):
            failure = (status.get(field) or {}).get("failure")
            if failure:
                return str(failure)
    return ""


def status_written(metadata: KubeObject) -> str:
    """When the API server last wrote an object's status, by its own clock (RFC 3339); empty where
    `managedFields` do not say."""
    fields = metadata.get("managedFields") or ()
    times = [one.get("time") or "" for one in fields if one.get("subresource") == "status"]
    return max(times, default="")


def _seconds(moment: str | None) -> float:
    """Seconds since the epoch; 0 for no moment, and for a text of an agent that is none: a schema
    takes the 31st of February. Whoever feeds the fleet must not fail over one server."""
    try:
        return parse_timestamp(moment).timestamp() if moment else 0.0
    except (ValueError, OverflowError):
        return 0.0


def _is_assigned(loaded: Mapping[str, Any], assigned: Mapping[str, Any]) -> bool:
    """Whether what answers is the assigned artifact with the assigned settings. Other artifacts of
    the version do not matter to this server."""
    keys = [
        release_key(str(one["modelVersion"]), "", one.get("pipeline")) for one in (loaded, assigned)
    ]
    return keys[0] == keys[1] and _same_files(loaded, assigned)


def _same_files(reported: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a report is of the very files that are wanted. An agent that has lost its memory
    knows the artifact's digest only."""
    manifest = reported.get("manifestDigest")
    same = manifest is None or manifest == wanted.get("manifestDigest")
    return bool(same and reported.get("digest") == wanted["digest"])


def _state(wanted: Any, reported: Any, done: Side) -> tuple[str, Side]:
    if not wanted:
        return "", Side.NONE
    key = key_of(wanted)
    if not reported or not _same_files(reported, wanted):
        return key, Side.WANTED
    return key, Side.FAILED if reported.get("failure") else done


def read_node(node: KubeObject) -> NodeFact:
    """A node; one that is being deleted counts as not ready."""
    ready = find(node, "Ready") or {}
    return NodeFact(
        name=meta.name(node),
        labels=dict(node["metadata"].get("labels") or {}),
        ready=ready.get("status") == "True" and not meta.deleting(node),
        since=str(ready.get("lastTransitionTime") or ""),
        why=str(ready.get("reason") or ""),
    )
