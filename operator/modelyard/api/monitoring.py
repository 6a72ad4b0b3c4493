"""Monitoring of a Deployment's servers: drift of what they see, and images kept for labelling.

What users write (Monitoring, in Deployment.spec), what each server gets of it (ServerMonitoring, in
ModelServer.spec), and what its agent reports (DriftStatus and CaptureStatus, in
ModelServer.status). The statistics: docs/drift.md and the package `drift`; agents compute them,
offline too. The fleet's verdict: core/fleet.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from modelyard.api.base import ApiModel, StatusModel, cel, rules

LongDuration = Annotated[str, Field(pattern=r"^([0-9]{1,5}(d|h|m|s)){1,4}$", max_length=24)]
"""A span of time such as 90d, 24h or 1h30m; a day has 24 hours."""

_REQUEST = r"^[A-Za-z0-9@:._+-]+$"
"""An annotation's value that is passed on: others are not acted on."""
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def long_duration_seconds(text: str) -> int:
    """Seconds of a LongDuration."""
    total, number = 0, ""
    for character in text:
        if character.isdigit():
            number += character
        else:
            total, number = total + int(number) * _SECONDS[character], ""
    return total


Rate = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,7})/(hour|day)$", max_length=16)]
"""Images per time, such as 24/day."""


def per_day(rate: str) -> int:
    """Images a day of a Rate."""
    number, _, unit = rate.partition("/")
    return int(number) * (24 if unit == "hour" else 1)


class Signal(StrEnum):
    """A figure that may raise an alarm."""

    TOP_SCORE = "TopScore"
    """Logit of the best raw score of an image, also where no box is returned."""
    DETECTIONS_PER_IMAGE = "DetectionsPerImage"
    """Number of returned boxes."""
    CLASS_MIX = "ClassMix"
    """Squared Hellinger distance of the shares of classes from the baseline's."""
    EMBEDDING = "Embedding"
    """Squared distance of the network's mean embedding from the baseline's."""


class Explanation(StrEnum):
    """A figure that says why; it never raises an alarm."""

    BOX_AREA = "BoxArea"
    """Mean share of the image's area that a box covers."""
    BRIGHTNESS = "Brightness"
    """Mean luminance."""
    CONTRAST = "Contrast"
    """Standard deviation of luminance."""
    SHARPNESS = "Sharpness"
    """Variance of the Laplacian."""
    COLOURFULNESS = "Colourfulness"
    """Colourfulness by Hasler and Süsstrunk (2003)."""


class Block(ApiModel):
    """Images whose figures are averaged. A block closes after both, and not before twice the
    autocorrelation time of its images."""

    duration: LongDuration = "5m"
    """Shortest duration."""
    images: int = Field(default=20, ge=2, le=10_000)
    """Fewest images."""


class Source(ApiModel):
    """What tells the cameras of one server apart."""

    parameter: str | None = Field(
        default=None, min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$"
    )
    """Request parameter (KServe v2) with the camera's name. Empty: images of one size are one
    source."""
    max: int = Field(default=8, ge=1, le=64)
    """Most sources that a server monitors; more are counted and not monitored."""


class Baseline(ApiModel):
    """How much is observed before charts start: both bounds must be met."""

    days: int = Field(default=14, ge=0, le=60)
    """Days. With fewer than 14, cycles of day and week are not calibrated, and the status says
    so."""
    blocks: int = Field(default=400, ge=20, le=10_000)
    """Blocks. With fewer than 400, false alarms are more frequent than declared."""


class FleetDrift(ApiModel):
    """When the Deployment is Drifting: when more servers drift at the same time than its false
    alarms explain."""

    expected_run_length: LongDuration = "365d"
    """Mean time between two false alarms of the fleet."""
    min_share: str = Field(
        default="2%", pattern=r"^(100|[1-9]?[0-9](\.[0-9]{1,2})?)%$", max_length=8
    )
    """Smallest share of servers, however unlikely fewer are."""
    hold_for: LongDuration = Field(default="1h", alias="for")
    """How long so many must drift."""


class Drift(ApiModel):
    """Change of what the servers see, against each server's own past and the version's holdout."""

    sample: LongDuration = "10s"
    """One uniformly drawn request of each source per interval is looked at."""
    block: Block = Field(default_factory=Block)
    """Images that make one point of a chart."""
    source: Source = Field(default_factory=Source)
    """What tells cameras apart."""
    signals: list[Signal] = Field(
        default_factory=lambda: list(Signal),
        min_length=1,
        max_length=4,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    """Figures that may raise an alarm."""
    explain: list[Explanation] = Field(
        default_factory=lambda: list(Explanation),
        max_length=5,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    """Figures that explain an alarm."""
    baseline: Baseline = Field(default_factory=Baseline)
    """How much is observed before charts start."""
    expected_run_length: LongDuration = "90d"
    """Mean time between two false alarms of one server, over all its sources and signals."""
    hold: LongDuration = "24h"
    """How long a server counts as drifting after its last alarm."""
    fleet: FleetDrift = Field(default_factory=FleetDrift)
    """When the Deployment is Drifting."""


_CONFIRMED = cel(
    "!has(self.classes) || size(self.classes) == 0 || "
    "(has(self.allowTrainedClasses) && self.allowTrainedClasses)",
    "the model can learn no more of classes that are redacted: confirm with "
    "allowTrainedClasses: true",
)


class Redaction(ApiModel):
    """What is made unrecognisable before an image touches a disk. An image that cannot be redacted
    is dropped."""

    model_config = ConfigDict(json_schema_extra=rules(_CONFIRMED))

    faces: bool = True
    """Faces, found by a detector of their own."""
    classes: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default_factory=list, max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Classes of the model whose boxes are redacted, at a low confidence and with a margin."""
    allow_trained_classes: bool = False
    """Confirms that redacted classes are not to be learnt any more: every class of the model is a
    trained one."""


class CaptureFleet(ApiModel):
    """Bounds over all servers of the Deployment."""

    images: Rate = "20000/day"
    """Most images of all servers together. Each server gets its share."""


class Capture(ApiModel):
    """Images that are kept for labelling."""

    random: Rate = "24/day"
    """Images of each server that are drawn uniformly over time: the unbiased part."""
    uncertain: Rate = "8/day"
    """Images of each server that have a box of doubtful confidence."""
    drifting: Rate = "24/day"
    """Images of each server while it drifts."""
    fleet: CaptureFleet = Field(default_factory=CaptureFleet)
    """Bounds over all servers."""
    redact: Redaction = Field(default_factory=Redaction)
    """What is made unrecognisable."""
    retention: LongDuration = "30d"
    """How long images stay in the store, unless a dataset has taken them."""


class Monitoring(ApiModel):
    """What the agents look at, beside serving. Without `drift` or `capture`, that part is off."""

    model_config = ConfigDict(
        json_schema_extra=rules(cel("has(self.drift) || has(self.capture)", "set drift or capture"))
    )

    drift: Drift | None = None
    """Detect that what the servers see has changed."""
    capture: Capture | None = None
    """Keep images for labelling."""


class ServerDrift(ApiModel):
    """What one server is to monitor: Drift without what concerns the fleet."""

    sample: LongDuration = "10s"
    """Interval of samples."""
    block: Block = Field(default_factory=Block)
    """Images that make one point of a chart."""
    source: Source = Field(default_factory=Source)
    """What tells cameras apart."""
    signals: list[Signal] = Field(default_factory=lambda: list(Signal), max_length=4)
    """Figures that may raise an alarm."""
    explain: list[Explanation] = Field(default_factory=lambda: list(Explanation), max_length=5)
    """Figures that explain an alarm."""
    baseline: Baseline = Field(default_factory=Baseline)
    """How much is observed before charts start."""
    expected_run_length: LongDuration = "90d"
    """Mean time between two false alarms."""
    hold: LongDuration = "24h"
    """How long the server counts as drifting after its last alarm."""


class ServerCapture(ApiModel):
    """What one server is to keep, within its share of the fleet's bounds."""

    random: int = Field(default=24, ge=0, le=100_000_000)
    """Images a day, drawn uniformly over time."""
    uncertain: int = Field(default=8, ge=0, le=100_000_000)
    """Images a day with a box of doubtful confidence."""
    drifting: int = Field(default=24, ge=0, le=100_000_000)
    """Images a day while the server drifts."""
    redact: Redaction = Field(default_factory=Redaction)
    """What is made unrecognisable."""
    on_demand: str | None = Field(
        default=None, pattern=r"^[1-9][0-9]{0,3}/[0-9a-z]{1,16}$", max_length=24
    )
    """Images that somebody asked for now: the number, and an identifier of the request."""


class ServerMonitoring(ApiModel):
    """What one server is to do beside serving. Written by the operator."""

    drift: ServerDrift | None = None
    """Drift to look for."""
    capture: ServerCapture | None = None
    """Images to keep."""
    accepted: str | None = Field(default=None, max_length=64, pattern=_REQUEST)
    """Value of the annotation by which somebody accepted what the server sees as its new normal;
    each new value is acted on once."""
    reset: str | None = Field(default=None, max_length=64, pattern=_REQUEST)
    """Value of the annotation by which somebody asked for a new baseline; each new value is acted
    on once."""


class DriftState(StrEnum):
    """What a server knows about drift."""

    UNKNOWN = "Unknown"
    """Nothing: no sample yet, or the clock is not synchronised."""
    CALIBRATING = "Calibrating"
    """Its baseline is not complete."""
    STABLE = "Stable"
    """No alarm within `hold`."""
    DRIFTING = "Drifting"
    """At least one source drifts."""


class FindingKind(StrEnum):
    """What was found."""

    DRIFT = "Drift"
    """A signal left its own baseline: the site has changed."""
    NOT_LIKE_HOLDOUT = "NotLikeHoldout"
    """The site does not look like the version's holdout."""
    SITE_CHANGED = "SiteChanged"
    """A later baseline differs from the first one that was accepted."""
    CAMERA_DARK = "CameraDark"
    """More than half of the images in an hour of work are blank. No drift."""
    CAMERA_MOVED = "CameraMoved"
    """The scene's layout changed: a person decides. No drift."""
    TOO_FEW_REQUESTS = "TooFewRequests"
    """Blocks take too long to close for the declared run length."""
    BASELINE_SUSPICIOUS = "BaselineSuspicious"
    """The baseline changed while it was taken, or differs from those of its pool."""
    UNCALIBRATED = "Uncalibrated"
    """The baseline is too short for the cycles of day and week."""
    CLOCK_UNSYNCHRONISED = "ClockUnsynchronised"
    """The clock jumped or is not synchronised; charts wait."""
    EMBEDDING_UNAVAILABLE = "EmbeddingUnavailable"
    """The artifact offers no embedding."""
    TOO_MANY_SOURCES = "TooManySources"
    """More sources than `source.max`; the others are not monitored."""
    NO_SOURCE = "NoSource"
    """Requests lack the parameter that `source.parameter` names; they are told apart by size."""
    NO_PERSISTENCE = "NoPersistence"
    """The server's cache goes with its pod, so its baseline does, too."""
    STATE_LOST = "StateLost"
    """What was kept on the server's disk could not be read; baselines are taken anew."""


class Finding(StatusModel):
    """One finding."""

    kind: str = Field(max_length=32)
    """What was found: a FindingKind."""
    source: str | None = Field(default=None, max_length=64)
    """Camera, where it concerns one."""
    signal: str | None = Field(default=None, max_length=32)
    """Signal of a Drift or NotLikeHoldout."""
    size: float | None = None
    """How far the signal is from its baseline, in standard deviations of a block."""
    because: list[Annotated[str, Field(max_length=48)]] | None = Field(default=None, max_length=3)
    """Figures that changed most with it, such as `Brightness -3.2`."""
    since: str = Field(json_schema_extra={"format": "date-time"})
    """Time of the first alarm."""


class DriftStatus(StatusModel):
    """What a server knows about drift. At most 1 kB; written when it changes."""

    state: str = Field(max_length=16)
    """Summary: a DriftState."""
    findings: list[Finding] | None = Field(default=None, max_length=6)
    """The most severe findings first."""
    more: int | None = None
    """Findings that are left out here."""
    sources: int | None = None
    """Sources that are monitored."""
    calibrated: int | None = None
    """Sources whose baseline is complete."""
    artifact_digest: str | None = Field(default=None, max_length=71)
    """Artifact that the charts are about."""
    accepted: str | None = Field(default=None, max_length=64)
    """Last value of spec.monitoring.accepted that was acted on."""
    reset: str | None = Field(default=None, max_length=64)
    """Last value of spec.monitoring.reset that was acted on."""
    alarm_since: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    """Time of the first alarm of the episode that goes on."""


class CaptureStatus(StatusModel):
    """What a server has kept. Written when it changes much."""

    stored: int | None = None
    """Images in the store, since the server started."""
    waiting: int | None = None
    """Images on the server that wait for the network."""
    dropped: int | None = None
    """Images that were dropped: no room, or not redacted."""
    failure: str | None = Field(default=None, max_length=256)
    """Why images cannot be kept or uploaded now, and what to do."""
    on_demand: str | None = Field(default=None, max_length=24)
    """Last value of spec.monitoring.capture.onDemand that was acted on."""
