"""Where the cluster tool keeps things: the user's cache and state folders (XDG).

Built programs are shared by all clusters (cache), a cluster's data is its own (state); nothing is
written into the checkout.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from modelyard_local.cluster.errors import ClusterError

TOOL_MODULES = Path(__file__).parent / "tools"
FULL_CLUSTER = Path("/run/modelyard/full-cluster")
"""Contains the path of the state folder of the machine's one full cluster, whichever user's that
is, until `down`."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def cache_home() -> Path:
    """`$XDG_CACHE_HOME/modelyard`: what can be made again."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "modelyard"


def clusters_home() -> Path:
    """`$XDG_STATE_HOME/modelyard/clusters`: one folder a cluster."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "modelyard" / "clusters"


def _xdg(variable: str, default: str) -> Path:
    # The specification says that a relative value is to be ignored.
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default


def cluster_folder(name: str) -> Path:
    """The state folder of the cluster called `name`. Raises ClusterError for an unusable name."""
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f"'{name}' cannot name a cluster: use at most 40 lower-case letters, digits and "
            "dashes, starting and ending with a letter or digit"
        )
    return clusters_home() / name


@dataclass(frozen=True)
class Layout:
    """The folders and files of one cluster under its state folder `root`."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held while the cluster goes up or down; beside the folder, as purge removes that."""
        return self.root.parent / f".{self.root.name}.lock"

    @property
    def logs(self) -> Path:
        """One log a component."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """One pid file a component."""
        return self.root / "run"

    @property
    def pki(self) -> Path:
        """Certificate authorities, certificates and their keys."""
        return self.root / "pki"

    @property
    def config(self) -> Path:
        """Generated configuration of the components."""
        return self.root / "config"

    @property
    def etcd(self) -> Path:
        """etcd's data."""
        return self.root / "etcd"

    @property
    def node(self) -> Path:
        """Everything of kubelet and containerd; mounts appear under it while they run."""
        return self.root / "node"

    @property
    def volumes(self) -> Path:
        """The folders behind PersistentVolumes."""
        return self.root / "volumes"

    @property
    def ports(self) -> Path:
        """The ports picked at the first start, kept so that kubeconfigs stay valid."""
        return self.root / "ports.json"

    @property
    def settings(self) -> Path:
        """What the cluster was brought up as (mode, optional components)."""
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    def component_kubeconfig(self, component: str) -> Path:
        """The kubeconfig with a component's own identity."""
        return self.config / f"{component}.kubeconfig"

    def make(self) -> None:
        """Creates the folders that every mode uses."""
        for folder in (self.root, self.logs, self.run, self.pki, self.config):
            folder.mkdir(parents=True, exist_ok=True)
        # Nobody else may read keys and etcd's data.
        self.root.chmod(0o700)
