"""Captured images: what is written about each, and what a file of captures is called.

The agent makes them (workloads/agent/capture), the intake service (workloads/intake) lets it store
them, the collector (store/collector) and `modelyard captures` read their names. A file is an
uncompressed tar with an image and its record (`<id>.json`) one after the other, under

    captures/<deployment>/<server>/<name>

in the namespace's part of the store. The name alone says how many captures of which reason the file
holds, so that listing and accounting need no file to be read.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Self

from pydantic import Field

from modelyard.api.base import ObjectName, StatusModel

CAPTURES = "captures/"
"""Folder of all captures in a namespace's part of the store."""
ON_DEMAND_ANNOTATION = "modelyard.dev/capture"
"""Annotation of a Deployment by which somebody asks for images now: `COUNT/ID`."""
AUDIENCE = "modelyard-intake"
"""Audience of the agents' token for the intake service."""
TOKEN_FOLDER = "/var/run/secrets/modelyard/intake"  # noqa: S105
"""Where the agent finds that token, as `token`."""
MAX_FILE_BYTES = 512 * 1024 * 1024
"""Largest file of captures."""
MAX_RECORD_BYTES = 4 * 1024 * 1024

_NAME = re.compile(
    r"^(?P<day>[0-9]{8})-(?P<boot>[0-9a-f]{12})-(?P<counter>[0-9]{6,12})-(?P<counts>([rudo][0-9]{1,6}){1,4})\.tar$"
)
_MEMBER = re.compile(r"^[0-9a-f]{12}-[0-9]{6,12}\.(json|jpg|png|webp|bmp|bin)$")
_COUNT = re.compile(r"([rudo])([0-9]+)")


class CaptureReason(StrEnum):
    """Why an image was captured."""

    RANDOM = "Random"
    """Drawn uniformly over time."""
    UNCERTAIN = "Uncertain"
    """A box of doubtful confidence."""
    DRIFTING = "Drifting"
    """The server drifted."""
    ON_DEMAND = "OnDemand"
    """Somebody asked for it."""

    @property
    def letter(self) -> str:
        """Its letter in the names of files."""
        return _LETTERS[self]

    @property
    def urgent(self) -> bool:
        """Whether it is stored at once instead of with the day's file."""
        return self in (CaptureReason.DRIFTING, CaptureReason.ON_DEMAND)


_LETTERS = {
    CaptureReason.RANDOM: "r",
    CaptureReason.UNCERTAIN: "u",
    CaptureReason.DRIFTING: "d",
    CaptureReason.ON_DEMAND: "o",
}
_REASONS = {letter: reason for reason, letter in _LETTERS.items()}


class CapturedImage(StatusModel):
    """The image's file."""

    file: str
    """Name in the tar."""
    sha256: str
    """Hexadecimal digest of its content."""
    width: int
    """In pixels, as it is to be looked at."""
    height: int
    """In pixels."""


class CapturedAnswer(StatusModel):
    """What the serving version answered for the image as it was sent."""

    model_version: str
    """Name of the ModelVersion."""
    version: int
    """Number of the version."""
    digest: str
    """Digest of the artifact."""
    confidence: float
    """Smallest confidence of a returned box."""
    classes: list[str]
    """Names of the classes, by class id."""
    boxes: list[tuple[float, float, float, float]]
    """x1, y1, x2, y2 in pixels of the image."""
    scores: list[float]
    """Confidence of each box."""
    class_ids: list[int]
    """Class of each box."""
    top_score: float | None = None
    """Logit of the best raw score."""
    milliseconds: float = 0.0
    """Time that the answer took in the server."""


class Inclusion(StatusModel):
    """How likely the image was to be captured, for estimates that weigh by it."""

    stratum_start: str
    """Start of the span of time of which one image was kept, RFC 3339."""
    stratum_seconds: float
    """Length of the span."""
    samples: int
    """Samples of that span among which it was drawn. A crash of the agent may lose the count of a
    minute."""
    requests: int | None = None
    """Requests that the sample itself was drawn from; None if not counted."""
    thinned: int = 1
    """Factor by which full disks have thinned out random captures."""
    weight: float
    """1 / probability: samples x requests x thinned. The number of images it stands for."""


class AppliedRedaction(StatusModel):
    """What was made unrecognisable."""

    faces: bool
    """Whether faces were looked for."""
    classes: list[str]
    """Classes that were redacted."""
    regions: list[tuple[int, int, int, int]]
    """x1, y1, x2, y2 in pixels."""
    agreement: float | None = None
    """F1 of the version's answer to the redacted image against that to the original; None if it
    could not be asked."""


class CaptureRecord(StatusModel):
    """What is known about one captured image."""

    format: int = 1
    """Version of this format."""
    id: str
    """`<boot>-<counter>`, unique for the server."""
    namespace: str
    deployment: str
    server: str
    """Name of the ModelServer."""
    node: str = ""
    source: str = ""
    """Camera."""
    reason: CaptureReason
    request: str | None = None
    """Identifier of the request for captures on demand."""
    time: str
    """When the request was answered, by the node's clock; RFC 3339 with milliseconds."""
    clock_synchronised: bool | None = None
    """Whether the node's clock was synchronised; None if the kernel does not say."""
    image: CapturedImage
    answer: CapturedAnswer
    inclusion: Inclusion | None = None
    """Of random captures, and of those while drifting."""
    multiplicity: int = 1
    """Images of the same look that this one stands for; random captures are never merged."""
    redaction: AppliedRedaction | None = None
    """None if nothing was to be redacted: the image is as it was sent."""
    for_training: bool = True
    """False where redaction changed what the version sees."""


@dataclass(frozen=True)
class CaptureFile:
    """What a file's name says."""

    day: str
    """UTC day of the file, YYYYMMDD."""
    boot: str
    counter: int
    counts: Mapping[CaptureReason, int]

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """From a name; None for anything else."""
        match = _NAME.match(name)
        if match is None:
            return None
        found = _COUNT.findall(match["counts"])
        counts = {_REASONS[letter]: int(number) for letter, number in found}
        if len(counts) != len(found) or not all(counts.values()):
            return None
        return cls(match["day"], match["boot"], int(match["counter"]), counts)

    @property
    def name(self) -> str:
        """The file's name."""
        counts = "".join(
            f"{reason.letter}{self.counts[reason]}"
            for reason in CaptureReason
            if reason in self.counts
        )
        return f"{self.day}-{self.boot}-{self.counter:06d}-{counts}.tar"

    @property
    def total(self) -> int:
        """Captures in the file."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Captured:
    """One capture: record and image."""

    record: CaptureRecord
    image: bytes


def server_prefix(deployment: str, server: str) -> str:
    """Where a server's captures are, in the namespace's part of the store."""
    return f"{CAPTURES}{deployment}/{server}/"


def add_to(archive: tarfile.TarFile, capture: Captured) -> None:
    """Adds a capture to a tar: its image, then its record."""
    record = capture.record
    text = record.model_dump_json(by_alias=True, exclude_none=True).encode()
    for name, content in ((record.image.file, capture.image), (f"{record.id}.json", text)):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))


def pack(captures: Iterable[Captured]) -> bytes:
    """A tar of captures. The same captures make the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for one in captures:
            add_to(archive, one)
    return buffer.getvalue()


def unpack(data: bytes | BinaryIO) -> Iterator[Captured]:
    """The captures of a tar, one in memory at a time. Raises ValueError for anything else; nothing
    is written to a disk."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    image: tuple[str, bytes] = ("", b"")
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                content = _content(archive, member)
                if not member.name.endswith(".json"):
                    image = (member.name, content)
                    continue
                record = CaptureRecord.model_validate_json(content)
                if record.image.file != image[0]:
                    raise ValueError(f"{member.name!r} does not follow its image")
                yield Captured(record, image[1])
    except tarfile.TarError as error:
        raise ValueError(f"not a file of captures: {error}") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Raises ValueError for what is no plain file of a reasonable size."""
    limit = MAX_RECORD_BYTES if member.name.endswith(".json") else MAX_FILE_BYTES
    if not _MEMBER.match(member.name) or not member.isfile() or member.size > limit:
        raise ValueError(f"{member.name[:100]!r} is no image and no record")
    file = archive.extractfile(member)
    return file.read() if file is not None else b""


class IntakeRequest(StatusModel):
    """What an agent asks the intake service for: to store one file."""

    server: ObjectName
    """Name of its ModelServer."""
    name: str = Field(max_length=120)
    """Name of the file."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hexadecimal digest of its content."""
    size_bytes: int = Field(ge=1, le=MAX_FILE_BYTES)


class IntakeGrant(StatusModel):
    """The answer: one PUT."""

    url: str
    """Signed URL."""
    headers: dict[str, str]
    """Headers that the PUT must have: they are signed, too."""
    expires_seconds: int
