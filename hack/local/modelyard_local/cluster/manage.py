"""Clusters by name, as the command line and the demo use them; remembers what was brought up.

A cluster outlives the command that made it, so its settings are written beside its data; `up` on
an existing one restarts what has died. How it is composed: local.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from modelyard_local.cluster.controlplane import ControlPlane
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.files import write_atomic
from modelyard_local.cluster.local import LocalCluster
from modelyard_local.cluster.network import Network
from modelyard_local.cluster.paths import Layout, cluster_folder
from modelyard_local.cluster.progress import Progress, silent
from modelyard_local.cluster.status import ClusterStatus, component_statuses

MODES = ("full", "control-plane")
DEFAULT_NAME = "local"


@dataclass(frozen=True)
class Settings:
    """What a cluster is brought up as; kept in its folder for the next `up`."""

    mode: str = "full"
    controller_manager: bool = False
    scheduler: bool = False
    kwok: bool = False
    pod_subnet: str = Network.pod_subnet
    service_subnet: str = Network.service_subnet

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ClusterError(f"Mode '{self.mode}' is unknown; use {' or '.join(MODES)}")
        for name in ("pod_subnet", "service_subnet"):
            Network.check_subnet(name.replace("_", " "), getattr(self, name))

    @classmethod
    def read(cls, layout: Layout) -> Settings | None:
        """The settings of the last `up`; None for a cluster that never was."""
        try:
            return cls(**json.loads(layout.settings.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ClusterError(
                f"{layout.settings} cannot be read ({error}); remove the cluster with "
                "`modelyard cluster down --purge` and bring it up again"
            ) from error

    def write(self, layout: Layout) -> None:
        """Remembers them."""
        layout.make()
        write_atomic(layout.settings, json.dumps(asdict(self), indent=2))


class DetachedControlPlane:
    """A control plane that outlives the command that started it."""

    mode = "control-plane"

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.name = folder.name
        self._plane = ControlPlane(
            folder,
            controller_manager=settings.controller_manager,
            scheduler=settings.scheduler,
            kwok=settings.kwok,
            service_subnet=settings.service_subnet,
            die_with_parent=False,
        )
        self.layout = self._plane.layout

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig

    def up(self, progress: Progress = silent) -> None:
        """Starts what is not running and waits until it is healthy. Raises ClusterError."""
        self._plane.start(progress)

    def down(self, *, purge: bool = False, progress: Progress = silent) -> None:
        """Stops every process; `purge` removes the data too."""
        self._plane.stop(purge=purge)
        progress(f"cluster {self.name}: stopped{' and removed' if purge else ''}")

    def status(self) -> ClusterStatus:
        """Check every component; changes nothing."""
        rows = []
        if self.layout.ports.exists():
            rows = component_statuses(self._plane.checks(), self._plane.processes)
        return ClusterStatus(self.name, self.mode, self.kubeconfig, self.layout.logs, rows)


def up(
    name: str = DEFAULT_NAME, wanted: Settings | None = None, progress: Progress = silent
) -> LocalCluster | DetachedControlPlane:
    """Brings the cluster `name` up as `wanted`, or as it was the last time, else as a full one.

    Raises ClusterError, also where a cluster of another mode has that name.
    """
    layout = Layout(cluster_folder(name))
    before = Settings.read(layout)
    settings = wanted or before or Settings()
    if before and before.mode != settings.mode:
        raise ClusterError(
            f"Cluster {name} is a {before.mode} cluster: remove it with `modelyard cluster down "
            f"--name {name} --purge`, or choose another name"
        )
    cluster = _make(layout, settings)
    if isinstance(cluster, LocalCluster):
        # Before anything is written: a refused `up` leaves no half-made cluster.
        cluster.check(progress)
    settings.write(layout)
    cluster.up(progress)
    return cluster


def existing(name: str = DEFAULT_NAME) -> LocalCluster | DetachedControlPlane | None:
    """The cluster `name` as it was last brought up, running or not; None where there is none."""
    layout = Layout(cluster_folder(name))
    settings = Settings.read(layout)
    return _make(layout, settings) if settings else None


def _make(layout: Layout, settings: Settings) -> LocalCluster | DetachedControlPlane:
    if settings.mode == LocalCluster.mode:
        return LocalCluster(layout.root, Network(settings.pod_subnet, settings.service_subnet))
    return DetachedControlPlane(layout.root, settings)
