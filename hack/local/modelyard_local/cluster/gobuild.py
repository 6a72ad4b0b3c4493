"""Runs one Go build of a tool module and reports how far it is.

Kubernetes is built from the Go module proxy, which takes about ten minutes: progress is counted
against the packages that `go list` names. Which programs there are and in which version:
binaries.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.progress import Progress, Ticker, duration

# From 1.21 on, Go fetches the toolchain that a go.mod asks for.
OLDEST_GO = (1, 21)


def build(
    module: Path,
    outputs: Mapping[Path, str],
    *,
    linker_flags: str,
    label: str,
    progress: Progress,
    tags: str = "",
) -> None:
    """Builds Go packages of `module` statically: output file → package. `tags` are build tags,
    with commas between them.

    Raises ClusterError where Go is missing or too old, or with the compiler's last words.
    """
    go = _go()
    progress(f"{label}: fetching modules")
    packages = list(dict.fromkeys(outputs.values()))
    total = _run(
        [go, "list", f"-tags={tags}", "-deps", *packages],
        module,
        label,
        progress,
        count_as="modules fetched",
        idle="reading modules",
    )
    progress(f"{label}: compiling up to {total:,} packages, once for this version")
    folder = next(iter(outputs)).parent
    # A single build command for all of them: they share most of their packages.
    _run(
        [
            go,
            "build",
            "-v",
            "-buildvcs=false",
            f"-tags={tags}",
            "-ldflags",
            linker_flags,
            "-o",
            f"{folder}/",
            *packages,
        ],
        module,
        label,
        progress,
        count_as=f"of up to {total:,} packages compiled",
        idle="linking",
        count_stderr=True,
    )
    for output, package in outputs.items():
        made = folder / _default_name(package, module)
        if made != output:
            made.rename(output)


def _go() -> str:
    go = shutil.which("go")
    if not go:
        raise ClusterError(
            "Go is not installed, and the cluster's programs have to be built first: install Go "
            "1.21 or newer (https://go.dev/dl), or point KUBEBUILDER_ASSETS at a folder with "
            "etcd, kube-apiserver and kubectl for a control plane"
        )
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    if not found or (int(found[1]), int(found[2])) < OLDEST_GO:
        raise ClusterError(
            f"{go} says '{said.strip()}', but 1.21 or newer is needed: install it from "
            "https://go.dev/dl and put it first on PATH"
        )
    return go


def _default_name(package: str, module: Path) -> str:
    """What `go build -o folder/` calls a binary: the last path element that is no major version."""
    if package == ".":
        return module.name
    elements = package.split("/")
    return elements[-2] if re.fullmatch(r"v\d+", elements[-1]) else elements[-1]


def _run(
    command: list[str],
    module: Path,
    label: str,
    progress: Progress,
    *,
    count_as: str,
    idle: str,
    count_stderr: bool = False,
) -> int:
    """Runs `command` in `module`, reports every few seconds, returns a line count."""
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    ticker = Ticker()
    lines = 0
    tail: deque[str] = deque(maxlen=15)
    process = subprocess.Popen(
        command,
        cwd=module,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def read_errors() -> None:
        nonlocal lines
        assert process.stderr is not None
        for line in process.stderr:
            tail.append(line.rstrip())
            lines += count_stderr or line.startswith("go: downloading")

    reader = threading.Thread(target=read_errors, daemon=True)
    reader.start()
    results = 0

    def read_results() -> None:
        nonlocal results
        assert process.stdout is not None
        results = sum(1 for _ in process.stdout)

    counter = threading.Thread(target=read_results, daemon=True)
    counter.start()
    try:
        while True:
            try:
                code = process.wait(timeout=1.0)
                break
            except subprocess.TimeoutExpired:
                if ticker.due():
                    # Nothing printed means that all is in Go's cache already.
                    what = f"{lines:,} {count_as}" if lines else idle
                    progress(f"{label}: {what}, {duration(ticker.elapsed)}")
    except BaseException:
        process.terminate()
        raise
    reader.join()
    counter.join()
    if code:
        raise ClusterError(
            f"Building {label} failed ({' '.join(command[:2])} ended with {code}). If modules "
            "could not be fetched, check the network and `go env GOPROXY`. Go's last lines:\n"
            + "\n".join(tail)
        )
    return results or lines
