"""What a run's figures depend on besides the code: hardware, versions, commit, other load."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from modelyard_local.cluster.binaries import MODULES

from .report import ROOT


def describe() -> dict[str, Any]:
    """Processor, memory, kernel, versions, the commit, and the load average at this moment."""
    software = {
        "Kubernetes": MODULES["kubernetes"].version(),
        "etcd": f"{MODULES['etcd'].version()} without fsync",
    }
    return _hardware() | {"software": software}


def of_serving() -> dict[str, Any]:
    """The same for servers, which need no Kubernetes."""
    return _hardware() | {"software": {"Triton": "2.51.0 of nvidia-pytriton 0.7.0"}}


def of_statistics() -> dict[str, Any]:
    """The same for what needs neither."""
    versions = {"NumPy": "numpy", "river": "river", "SciPy": "scipy"}
    return _hardware() | {"software": {one: version(name) for one, name in versions.items()}}


def _hardware() -> dict[str, Any]:
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": _commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def text(machine: dict[str, Any]) -> str:
    """One line for a page."""
    # Reports of earlier runs name Kubernetes and etcd only.
    software = machine.get("software") or {
        "Kubernetes": machine["kubernetes"],
        "etcd": f"{machine['etcd']} without fsync",
    }
    versions = ", ".join(f"{name} {version}" for name, version in software.items())
    return (
        f"{machine['cores']} × {machine['processor']}, {machine['memory_gib']:g} GiB, Linux "
        f"{machine['kernel']}, Python {machine['python']}, {versions}; commit "
        f"{machine['commit']}; load average before the run {machine['load_before']:g}"
    )


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{commit} with local changes" if git("status", "--porcelain", "-uno") else commit
