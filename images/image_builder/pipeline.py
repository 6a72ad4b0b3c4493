"""Builds the images that are missing, two at a time, and archives them for a container runtime.

Two at a time, since one image's compilation overlaps well with another one's downloads. Which
program builds: engines.py.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from . import archives, bases, context, engines, pip_settings, process
from .catalog import LOCAL, ROOT, Image, select, version
from .errors import ImageError
from .progress import Callback, Progress, State, parse_step
from .refs import ImageRef

USER = "65532:65532"
"""Every image runs as this: pods set runAsNonRoot."""
_SIDE_BY_SIDE = 2


def plan(names: Iterable[str] = ()) -> dict[str, str]:
    """Name → full reference of the images as they would be built from the sources now."""
    return {image.name: context.snapshot(image).reference for image in select(list(names))}


def logs_folder() -> Path:
    """Where the builders' output goes, a file an image."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(home) if home.startswith("/") else Path.home() / ".cache"
    return cache / "modelyard" / "images" / "logs"


def build(
    names: Iterable[str] = (),
    archive_dir: Path | str | None = None,
    progress: Callback = lambda _progress: None,
    engine: str | None = None,
) -> dict[str, ImageRef]:
    """Builds the named images (all where empty) unless they are there, unchanged, already.

    `archive_dir`: also leaves one archive an image there, for `ctr images import`.
    `engine`: docker, podman or buildah; the first that works where None.
    Raises ImageError with the first failure; builds already running are waited for.
    """
    images = select(list(names))
    folder = Path(archive_dir).resolve() if archive_dir is not None else None
    builder = _Builder(folder, progress, engine)
    process.accept()
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        jobs = {image.name: pool.submit(builder.make, image) for image in images}
        try:
            wait(jobs.values())
        except KeyboardInterrupt as interrupt:
            builder.failure = builder.failure or interrupt
            process.end_all()  # The threads then clean up, and leaving the pool waits for them.
            raise
    if builder.failure is not None:
        raise builder.failure
    return {name: job.result() for name, job in jobs.items()}


class _Tell(Protocol):
    """Reports one step of the image that is being made."""

    def __call__(self, state: State, text: str = "", step: int = 0, steps: int = 0) -> None: ...


class _Builder:
    """One call of `build`: the engine is looked for once, and only if something is missing."""

    def __init__(self, folder: Path | None, progress: Callback, engine: str | None) -> None:
        self._folder = folder
        self._progress = progress
        self._wanted = engine or os.environ.get("MODELYARD_IMAGE_BUILDER") or None
        self._engine: engines.Engine | None = None
        self._lock = threading.Lock()
        self.failure: BaseException | None = None
        """The first failure; nothing more is begun after it."""

    @property
    def engine(self) -> engines.Engine:
        with self._lock:
            if self._engine is None:
                self._engine = engines.detect(self._wanted, lambda: bases.install("buildah"))
            return self._engine

    def make(self, image: Image) -> ImageRef:
        """The image, built and archived where it is not yet."""
        if self.failure is not None:
            raise ImageError(f"The image '{image.name}' was not begun: another one failed")
        started = time.monotonic()

        def tell(state: State, text: str = "", step: int = 0, steps: int = 0) -> None:
            seconds = time.monotonic() - started
            self._progress(Progress(image.name, state, seconds, step, steps, text))

        try:
            snapshot = context.snapshot(image)
            ref = self._reuse(snapshot) or self._build(snapshot, tell)
        except Exception as error:
            self.failure = self.failure or error
            tell("failed", (str(error).splitlines() or [type(error).__name__])[0])
            raise
        ref = replace(ref, seconds=time.monotonic() - started)
        tell("ready", f"{ref.tag}{' (unchanged)' if ref.reused else ''}")
        return ref

    def _reuse(self, snapshot: context.Snapshot) -> ImageRef | None:
        """The image if all that is asked for is there already."""
        name, tag = snapshot.image.name, snapshot.reference
        if self._folder is not None:
            archive = archives.path(self._folder, name, tag)
            if not archive.is_file():
                return None
            try:
                found = archives.read(archive)
            except ImageError:
                return None  # Damaged: it is written anew.
            return ImageRef(name, tag, found.digest, found.size, archive, reused=True)
        stored = self.engine.stored(tag)
        return ImageRef(name, tag, stored.digest, stored.size, reused=True) if stored else None

    def _build(self, snapshot: context.Snapshot, tell: _Tell) -> ImageRef:
        image, tag = snapshot.image, snapshot.reference
        log = logs_folder() / f"{image.name}.log"
        log.unlink(missing_ok=True)
        stored = self.engine.stored(tag)
        if stored is None:
            for suite in image.bases:
                bases.ensure(self.engine, suite, log, lambda text: tell("base", text))
            self._run(snapshot, log, tell)
            stored = self.engine.stored(tag)
            if stored is None:
                raise ImageError(f"{self.engine.name} built {tag}, but does not list it; see {log}")
            if stored.user != USER:
                raise ImageError(
                    f"The image '{image.name}' runs as '{stored.user or 'root'}'; "
                    f"its Dockerfile must end with USER {USER}"
                )
        archive = self._archive(image, tag, log, tell) if self._folder else None
        return ImageRef(image.name, tag, stored.digest, stored.size, archive)

    def _run(self, snapshot: context.Snapshot, log: Path, tell: _Tell) -> None:
        image, tag = snapshot.image, snapshot.reference
        programs = {target: _tool(name, tell) for target, name in image.tools.items()}

        def line(text: str) -> None:
            found = parse_step(text)
            if found:
                tell("building", found[2], found[0], found[1])

        with (
            tempfile.TemporaryDirectory(prefix=f"modelyard-{image.name}-") as staged,
            tempfile.TemporaryDirectory(prefix="modelyard-secrets-") as secret,
        ):
            folder = Path(staged)
            snapshot.stage(folder, programs)
            secrets = pip_settings.write_secrets(Path(secret), pip_settings.settings())
            self.engine.build(tag, folder, {"VERSION": version()}, secrets, log, line)

    def _archive(self, image: Image, tag: str, log: Path, tell: _Tell) -> Path:
        assert self._folder is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        final = archives.path(self._folder, image.name, tag)
        tell("archiving", f"writing {final.name}")
        partial = archives.partial_path(final)
        try:
            self.engine.save(tag, partial, log)
            found = archives.read(partial)
            if not found.named(tag):
                raise ImageError(f"The archive of {tag} names {found.tags or 'nothing'} instead")
            partial.replace(final)
            archives.prune(self._folder, image.name)
        finally:
            partial.unlink(missing_ok=True)
        return final


def _tool(name: str, tell: _Tell) -> Path:
    """The path of a Go program, built by the cluster tool's own cache where it is missing."""
    package = str(ROOT / LOCAL)
    if package not in sys.path:
        sys.path.insert(0, package)
    try:
        from modelyard_local.cluster import binaries
        from modelyard_local.cluster.errors import ClusterError
    except ImportError as error:
        raise ImageError(
            f"The program {name} cannot be built: {error}; run `make images`, or this script with "
            ".venv/bin/python"
        ) from error
    try:
        return binaries.ensure(name, lambda text: tell("base", text))
    except ClusterError as error:
        raise ImageError(str(error)) from error
