"""The build context of an image: exactly the files that go in, and the hash over them.

The hash names the image, so an unchanged image keeps its tag and is never built or imported again.
Files are read once, so the hash is that of what is built even while somebody edits the sources.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .catalog import PACKAGE, REPOSITORY, ROOT, TOOL_SOURCES, Image, version
from .errors import ImageError

DOCKERFILE = "Dockerfile"
"""Where the Dockerfile lies in a staged context."""
_JUNK_FOLDERS = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
_JUNK_SUFFIXES = {".pyc", ".pyo", ".swp"}
_TIME = 315532800
"""1980-01-01, the earliest time that every archive format can hold."""


@dataclass(frozen=True)
class Snapshot:
    """The contents of an image's context, as they were when they were read."""

    image: Image
    files: Mapping[str, tuple[bytes, bool]]
    """Path in the context → content, executable. Sorted, with the Dockerfile."""
    pins: Mapping[str, bytes]
    """What decides how Go programs are built (go.mod, go.sum): hashed, not staged."""

    @cached_property
    def content_hash(self) -> str:
        """Ten hex digits over all that decides what is in the image, Debian's packages aside."""
        digest = hashlib.sha256()
        parts = [
            (name, b"x" if runs else b"-", content) for name, (content, runs) in self.files.items()
        ]
        parts += [(name, b"pin", content) for name, content in self.pins.items()]
        for name, kind, content in parts:
            # Lengths keep a file's end apart from the next one's name.
            for part in (name.encode(), kind, content):
                digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()[:10]

    @cached_property
    def reference(self) -> str:
        """The image's full reference, `docker.io/modelyard/<name>:<version>-<hash>`."""
        return f"{REPOSITORY}/{self.image.name}:{version()}-{self.content_hash}"

    def stage(self, folder: Path, programs: Mapping[str, Path]) -> None:
        """Fills the empty `folder`; `programs` maps paths in the context to built Go programs.

        All files get one fixed time and plain modes: the builders' layer caches compare those too.
        """
        contents = dict(self.files)
        contents |= {name: (path.read_bytes(), True) for name, path in programs.items()}
        for name, (content, executable) in contents.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o755 if executable else 0o644)
        for here, folders, names in os.walk(folder):
            for name in folders:
                (Path(here) / name).chmod(0o755)
            for name in [*folders, *names]:
                os.utime(Path(here) / name, (_TIME, _TIME))


def snapshot(image: Image, root: Path = ROOT) -> Snapshot:
    """Reads what goes into `image`. Raises ImageError where something of it does not exist."""
    paths = dict(_sources(image, root))
    paths[DOCKERFILE] = _existing(root / "images" / image.name / "Dockerfile", image, root)
    files = {
        name: (path.read_bytes(), os.access(path, os.X_OK)) for name, path in sorted(paths.items())
    }
    pins = {
        f"{target}:{pin.name}": pin.read_bytes()
        for target, tool in sorted(image.tools.items())
        for pin in sorted((root / TOOL_SOURCES / tool).glob("go.*"))
    }
    return Snapshot(image, files, pins)


def _sources(image: Image, root: Path) -> Iterator[tuple[str, Path]]:
    base = root / image.context
    left_out = {root / PACKAGE / name for name in image.without}
    for entry in image.include:
        start = _existing(base / entry, image, root)
        for path in [start] if start.is_file() else _tree(start, left_out):
            yield path.relative_to(base).as_posix(), path


def _existing(path: Path, image: Image, root: Path) -> Path:
    if not path.exists():
        raise ImageError(
            f"{path.relative_to(root)}, which the image '{image.name}' needs, does not exist"
        )
    return path


def _tree(start: Path, left_out: set[Path]) -> Iterator[Path]:
    for folder, folders, names in os.walk(start):
        here = Path(folder)
        folders[:] = [
            name for name in folders if name not in _JUNK_FOLDERS and here / name not in left_out
        ]
        yield from (here / name for name in names if Path(name).suffix not in _JUNK_SUFFIXES)
