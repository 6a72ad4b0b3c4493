"""What a finished image is called and where it lies."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageRef:
    """A built image."""

    name: str
    """Short name, such as `operator`."""
    tag: str
    """Full reference as a pod spec names it: `docker.io/modelyard/operator:0.1.0-1a2b3c4d5e`."""
    digest: str
    """The image's id: the sha256 digest of its configuration."""
    size: int
    """Bytes of the unpacked layers; of the archive where only that is there."""
    archive: Path | None = None
    """The file to import into a container runtime, if one was asked for."""
    reused: bool = False
    """True where nothing had to be built."""
    seconds: float = 0.0
    """How long it took, archive included."""
