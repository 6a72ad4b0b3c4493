"""Runs programs in the trainer image, which has Ultralytics and torch, on the host's network.

Ultralytics is AGPL-3.0 and brings torch, so neither is installed beside our own packages. The image
is the one that `make images` builds; buildah runs it without a daemon.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..report import ROOT
from ..runner import CannotMeasure
from .load import Driver

PACKAGES = {
    "fastapi": ("fastapi>=0.115,<1", "uvicorn>=0.34,<1"),
    "litserve": ("litserve>=0.2,<1",),
    "triton": ("tritonclient[http]>=2.50,<3",),
}
"""What peers need beside the image, each in a folder of its own."""
PYTHON = "3.13"
"""Of the trainer image."""


class NoTrainer(CannotMeasure):
    """The image cannot be used; the message says what to do."""


class Trainer:
    """A container of the trainer image with one shared folder, /bench inside."""

    def __init__(self, container: str, folder: Path) -> None:
        self._container = container
        self._folder = folder

    def command(self, *arguments: str, packages: str = "") -> list[str]:
        """The command line that runs `python ARGUMENTS` in it, with some of PACKAGES."""
        mount = f"{self._folder}:/bench"
        # Our own code as it is here, not as it was when the image was built.
        path = "/bench/source" + (f":/bench/packages/{packages}" if packages else "")
        inside = ["env", f"PYTHONPATH={path}", "python", *arguments]
        return ["buildah", "run", "--user=0:0", "-v", mount, self._container, "--", *inside]

    def install(self, packages: str) -> None:
        """Makes some of PACKAGES available. Raises NoTrainer where they cannot be installed."""
        install(self._folder / "packages" / packages, PACKAGES[packages], python=PYTHON)

    def run(self, *arguments: str) -> None:
        """Runs to the end. Raises NoTrainer with the last lines of its output."""
        done = subprocess.run(
            self.command(*arguments),
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NoTrainer(f"python {arguments[0]} failed: {done.stderr[-2000:]}")

    @contextmanager
    def serving(self, log: Path, *arguments: str, packages: str) -> Iterator[int]:
        """Runs a server for as long as the context is open; yields the process that leads its
        process group."""
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *self.command(*arguments, packages=packages),
                ],
                env=_environment(),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(15)

    def driver(self, log: Path, *arguments: str, packages: str) -> Driver:
        """A program that sends loads, as `load.Driver`."""
        return Driver(
            self.command(*arguments, packages=packages),
            (str(self._folder), "/bench"),
            env=_environment(),
            stderr=log.open("wb"),
            start_new_session=True,
        )


@contextmanager
def trainer(folder: Path) -> Iterator[Trainer]:
    """A container of the newest trainer image. Raises NoTrainer."""
    if shutil.which("buildah") is None:
        raise NoTrainer("the peer runs in the trainer image by buildah: apt-get install buildah")
    image = _image()
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "operator", source, ignore=shutil.ignore_patterns("__pycache__"))
    container = _buildah("from", image)
    try:
        yield Trainer(container, folder)
    finally:
        _buildah("rm", container)


def _image() -> str:
    def newest() -> str | None:
        found = json.loads(_buildah("images", "--json") or "[]") or []
        names = [name for one in found for name in one.get("names") or ()]
        return next((name for name in names if "/modelyard/trainer:" in name), None)

    if (image := newest()) is None:
        build = [sys.executable, str(ROOT / "images" / "build.py"), "trainer", "--builder=buildah"]
        if subprocess.run(build, check=False).returncode or (image := newest()) is None:
            raise NoTrainer("the trainer image could not be built: see above")
    return image


def install(folder: Path, packages: Sequence[str], *, python: str | None = None) -> Path:
    """Installs packages into a folder of their own, once, and returns it. Raises NoTrainer where
    they cannot be."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    target = [f"--target={part}", "--only-binary=:all:"]
    target += [f"--python-version={python}"] if python else []
    done = subprocess.run(
        [*pip, *target, *packages], capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise NoTrainer(f"pip cannot install {', '.join(packages)}: {done.stderr.strip()[-300:]}")
    # The image has its own, which Ultralytics and torch were tried with.
    for name in part.glob("numpy*"):
        shutil.rmtree(name, ignore_errors=True)
    part.rename(folder)
    return folder


def _buildah(*arguments: str) -> str:
    done = subprocess.run(
        ["buildah", *arguments], env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NoTrainer(f"buildah {arguments[0]}: {done.stderr.strip()[-1000:]}")
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    return {**os.environ, "STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}
