"""Makes the records of captures."""

from __future__ import annotations

from datetime import UTC, datetime

from modelyard.contract.capture import (
    Captured,
    CapturedAnswer,
    CapturedImage,
    CaptureReason,
    CaptureRecord,
    Inclusion,
)
from modelyard.workloads.agent.capture.offers import Identity, Offered, Serving
from modelyard.workloads.agent.capture.redaction import Prepared
from modelyard.workloads.agent.capture.strata import Span, Tally


def moment(seconds: float) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def record(
    identifier: str,
    identity: Identity,
    reason: CaptureReason,
    offered: Offered,
    serving: Serving,
    prepared: Prepared,
) -> CaptureRecord:
    """The record of a sample that is kept."""
    boxes = [tuple(round(float(value), 2) for value in box) for box in offered.boxes]
    return CaptureRecord(
        id=identifier,
        namespace=identity.namespace,
        deployment=identity.deployment,
        server=identity.server,
        node=identity.node,
        source=offered.source[:64],
        reason=reason,
        time=moment(offered.time),
        clock_synchronised=offered.clock_synchronised,
        image=CapturedImage(
            file=f"{identifier}.{prepared.ending}",
            sha256=prepared.sha256,
            width=prepared.width,
            height=prepared.height,
        ),
        answer=CapturedAnswer(
            model_version=serving.model_version,
            version=serving.version,
            digest=serving.digest,
            confidence=serving.confidence,
            classes=list(serving.classes),
            boxes=boxes,
            scores=[round(float(score), 4) for score in offered.scores],
            class_ids=[int(one) for one in offered.classes],
            top_score=offered.top_score,
            milliseconds=round(offered.milliseconds, 3),
        ),
        redaction=prepared.redaction,
        for_training=prepared.for_training,
    )


def inclusion(span: Span, requests: int | None) -> Inclusion:
    """Of a sample that its span keeps for now; `closed` says the rest."""
    return Inclusion(
        stratum_start=moment(span.start / 1000),
        stratum_seconds=span.seconds,
        samples=1,
        requests=requests,
        weight=float(requests or 1),
    )


def closed(capture: Captured, tally: Tally) -> Captured:
    """A kept sample whose span is over. Only where samples are drawn by chance, a weight says
    something: the most doubtful one stands for no others."""
    before = capture.record
    changes: dict[str, object] = {"multiplicity": 1 + tally.alike}
    if before.reason is CaptureReason.UNCERTAIN:
        changes["inclusion"] = None
    elif before.inclusion is not None:
        samples = max(1, tally.samples)
        weight = float(samples * (before.inclusion.requests or 1))
        changes["inclusion"] = before.inclusion.model_copy(
            update={"samples": samples, "weight": weight}
        )
    return Captured(before.model_copy(update=changes), capture.image)
