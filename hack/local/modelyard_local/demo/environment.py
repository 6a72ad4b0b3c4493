"""Brings up what the demo needs: a cluster, the images in it, the chart.

Works with three kinds of cluster: one of our own, kind, or the user's current context. Whatever is
there already is used.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from modelyard_local.cluster import ensure, manage
from modelyard_local.cluster.choose import current_kubeconfig
from modelyard_local.cluster.kind import KindCluster, find_engine
from modelyard_local.cluster.local import LocalCluster
from modelyard_local.cluster.paths import cluster_folder
from modelyard_local.demo.errors import DemoError

RELEASE = "modelyard"
SYSTEM_NAMESPACE = "modelyard-system"
IMAGES = ("operator", "worker", "trainer", "triton", "store")
Progress = Callable[[str], None]


class Cluster(Protocol):
    """A cluster that the demo can use."""

    @property
    def kubeconfig(self) -> Path:
        """Where the cluster's kubeconfig lies."""

    def up(self, progress: Progress) -> None:
        """Start the cluster; does nothing where it runs."""

    def load_image(self, archive: Path) -> bool:
        """Load an image archive; False where the cluster pulls from a registry of its own."""

    def down(self, *, purge: bool, progress: Progress) -> None:
        """Stop the cluster, and with `purge` remove its files."""


@dataclass
class CurrentCluster:
    """The user's own cluster: neither started nor stopped, and images come from its registry."""

    kubeconfig: Path

    def up(self, progress: Progress) -> None:
        """Only report: the cluster runs already."""
        progress("using the cluster of your current kubeconfig context")

    def load_image(self, archive: Path) -> bool:
        """Load nothing: the cluster pulls from its own registry."""
        return False

    def down(self, *, purge: bool, progress: Progress) -> None:
        """Only report: the cluster is left as it is."""
        progress("your own cluster goes on running")


def open_cluster(kind: str, name: str) -> Cluster:
    """The cluster of a kind of `modelyard_local.cluster.choose`. Raises DemoError."""
    if kind == "current":
        return CurrentCluster(current_kubeconfig())
    if kind == "kind":
        engine = find_engine()
        if isinstance(engine, str):
            raise DemoError(engine)
        return KindCluster(cluster_folder(name), engine)
    return _Managed(name)


@dataclass
class _Managed:
    """The local cluster, by name."""

    name: str

    @property
    def kubeconfig(self) -> Path:
        return LocalCluster(cluster_folder(self.name)).kubeconfig

    def up(self, progress: Progress) -> None:
        manage.up(self.name, manage.Settings(mode="full"), progress)

    def load_image(self, archive: Path) -> bool:
        cluster = manage.existing(self.name)
        if not isinstance(cluster, LocalCluster):
            raise DemoError(f"local cluster {self.name} is not up")
        return cluster.load_image(archive)

    def down(self, *, purge: bool, progress: Progress) -> None:
        cluster = manage.existing(self.name)
        if cluster is not None:
            cluster.down(purge=purge, progress=progress)


def bring_up(cluster: Cluster, checkout: Path, live: Progress) -> dict[str, str]:
    """Cluster and images side by side, then the images into the cluster; image name → tag."""
    latest = {"cluster": "starting", "images": "starting"}

    def report(part: str) -> Progress:
        def progress(text: str) -> None:
            latest[part] = text
            live("; ".join(f"{k}: {v}" for k, v in latest.items()))

        return progress

    with ThreadPoolExecutor(2) as pool:
        started: Future[None] = pool.submit(cluster.up, report("cluster"))
        built = pool.submit(build_images, checkout, report("images"))
        refs = built.result()
        started.result()
    for name, ref in refs.items():
        live(f"loading image {name} into the cluster")
        cluster.load_image(Path(ref["archive"]))
    return {name: str(ref["tag"]) for name, ref in refs.items()}


def build_images(checkout: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    """Build what changed, with an archive of each image. Raises DemoError."""
    archives = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard/images"
    command = [
        sys.executable,
        str(checkout / "images/build.py"),
        *IMAGES,
        "--archive-dir",
        str(archives),
        "--json-progress",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=checkout
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        result: dict[str, dict[str, Any]] = {}
        for event in _events(process.stdout):
            if event["event"] == "result":
                result = event["images"]
            else:
                step = f" {event['step']}/{event['steps']}" if event.get("steps") else ""
                progress(f"{event['image']} {event['state']}{step}")
        errors = process.stderr.read()
    if process.returncode or not result:
        raise DemoError(f"images could not be built: {errors.strip()[-2000:]}")
    progress("ready")
    return result


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("{"):
            yield json.loads(line)


def install_chart(
    cluster: Cluster,
    checkout: Path,
    *,
    images: dict[str, str],
    namespace: str,
    values: Path | None,
    live: Progress,
) -> None:
    """`helm upgrade --install` with an embedded store, and wait until it runs. Raises DemoError."""
    helm = ensure("helm", live)
    own = {
        "images": images,
        "workloads": {"namespaces": [namespace]},
        "store": {"embedded": {"enabled": True}},
    }
    live("helm upgrade --install modelyard")
    command = [
        str(helm),
        "upgrade",
        "--install",
        RELEASE,
        str(checkout / "charts/modelyard"),
        f"--kubeconfig={cluster.kubeconfig}",
        f"--namespace={SYSTEM_NAMESPACE}",
        "--create-namespace",
        *([f"--values={values}"] if values else []),
        "--values=-",
        "--wait",
        "--timeout=5m",
    ]
    done = subprocess.run(
        command, input=yaml.safe_dump(own), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DemoError(
            f"the chart could not be installed: {done.stderr.strip()[-2000:]}\n"
            f"Inspect it with: kubectl --kubeconfig={cluster.kubeconfig} -n {SYSTEM_NAMESPACE} "
            "get pods,events"
        )


def uninstall_chart(cluster: Cluster, live: Progress) -> None:
    """`helm uninstall`; fine if it is not there."""
    helm = ensure("helm", live)
    subprocess.run(
        [
            str(helm),
            "uninstall",
            RELEASE,
            f"--kubeconfig={cluster.kubeconfig}",
            f"--namespace={SYSTEM_NAMESPACE}",
            "--ignore-not-found",
            "--wait",
        ],
        capture_output=True,
        check=False,
    )
