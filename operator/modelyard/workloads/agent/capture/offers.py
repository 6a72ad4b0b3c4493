"""What the monitoring loop hands to capture, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Identity:
    """The server that captures."""

    namespace: str
    deployment: str
    server: str
    """Name of its ModelServer."""
    node: str = ""


@dataclass(frozen=True)
class Offered:
    """A sampled request with the serving version's answer."""

    image: bytes
    """The image as it was sent: a JPEG, PNG, WebP or BMP file, or base64 text of one."""
    version: int
    """Version that answered."""
    boxes: np.ndarray
    """[N, 4] float32: x1, y1, x2, y2 in pixels of the image."""
    scores: np.ndarray
    """[N] float32."""
    classes: np.ndarray
    """[N] int32."""
    time: float
    """When it was answered, in seconds since 1970 (UTC)."""
    source: str = ""
    """Camera."""
    milliseconds: float = 0.0
    """How long the answer took."""
    top_score: float | None = None
    """Logit of the best raw score."""
    requests: int | None = None
    """Requests of this source that the sample was drawn from."""
    clock_synchronised: bool | None = None


@dataclass(frozen=True)
class Serving:
    """The version that answers now, as far as capture needs it."""

    model_version: str
    version: int
    digest: str
    """Digest of the artifact."""
    classes: tuple[str, ...] = field(default=())
    """Class names, by class id."""
    confidence: float = 0.25
    """Smallest confidence of a returned box."""
