"""Which images there are, and what goes into each.

The one list of our images; Dockerfiles lie in folders of these names. How a tag is computed:
context.py; how they are built: pipeline.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ImageError

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
REPOSITORY = "docker.io/modelyard"
PACKAGE = "operator/modelyard"


@dataclass(frozen=True)
class Lock:
    """How an image's requirements.txt is resolved from pyproject.toml."""

    extras: tuple[str, ...]
    python: str
    """The image's Python, such as `3.11`."""
    provided: str | None = None
    """File that lists the distributions that Debian's packages provide (and PyPI must not)."""
    requirements: str = "requirements.txt"
    also: tuple[str, ...] = ()
    """Further files of requirements in the image's folder."""


@dataclass(frozen=True)
class Image:
    """One image: its Dockerfile is `images/<name>/Dockerfile`."""

    name: str
    bases: tuple[str, ...] = ()
    """Debian suites whose slim image the Dockerfile starts from."""
    context: str = "."
    """Build context, relative to the repository."""
    include: tuple[str, ...] = ()
    """Files and folders of the context that go in; nothing else is sent to the builder."""
    without: tuple[str, ...] = ()
    """Subpackages of modelyard left out: an edit there must not rebuild this image."""
    tools: Mapping[str, str] = field(default_factory=dict)
    """File in the context → Go program that `modelyard_local.cluster.binaries` builds."""
    locks: tuple[Lock, ...] = ()
    """What `images/lock.py` writes for it."""

    @property
    def dockerfile(self) -> Path:
        """The Dockerfile's path."""
        return ROOT / "images" / self.name / "Dockerfile"


_CLI_ONLY = ("cli",)
_ENGINE_ONLY = ("core", "handlers", "runtime")

IMAGES: dict[str, Image] = {
    image.name: image
    for image in (
        # The longest first: the others are built beside it.
        Image(
            "trainer",
            bases=("trixie",),
            include=(
                "images/trainer/dpkg.cfg",
                "images/trainer/requirements.txt",
                "images/trainer/warm.py",
                PACKAGE,
            ),
            without=(*_CLI_ONLY, *_ENGINE_ONLY),
            locks=(
                Lock(("train",), "3.13", provided="provided-by-debian.txt"),
                Lock(("train",), "3.11", requirements="requirements-gpu.txt", also=("gpu.in",)),
            ),
        ),
        Image(
            "operator",
            bases=("bookworm",),
            include=("images/operator/requirements.txt", PACKAGE),
            without=(*_CLI_ONLY, "workloads"),
            locks=(Lock(("operator",), "3.11"),),
        ),
        Image(
            "worker",
            bases=("bookworm",),
            include=("images/worker/requirements.txt", PACKAGE),
            without=(*_CLI_ONLY, *_ENGINE_ONLY),
            locks=(Lock(("data", "agent"), "3.11"),),
        ),
        Image(
            "triton",
            bases=("bookworm",),
            context="images/triton",
            include=("backends", "requirements.txt", "unpack.py"),
        ),
        Image("store", tools={"images/store/versitygw": "versitygw"}),
    )
}
LOCAL = "hack/local"
"""Distribution with the cluster tool, which builds Go programs."""
TOOL_SOURCES = f"{LOCAL}/modelyard_local/cluster/tools"


def select(names: list[str]) -> list[Image]:
    """The images called `names` (all where empty), longest build first."""
    unknown = [name for name in names if name not in IMAGES]
    if unknown:
        raise ImageError(
            f"There is no image '{unknown[0]}'; choose from {', '.join(sorted(IMAGES))}"
        )
    return [image for image in IMAGES.values() if not names or image.name in names]


def version() -> str:
    """The package's version, from pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text()
    match = re.search(r'^version = "([^"]+)"$', text, re.MULTILINE)
    if not match:
        raise ImageError("pyproject.toml has no version line")
    return match[1]
