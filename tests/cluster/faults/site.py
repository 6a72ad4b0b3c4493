"""An API server with its controllers, the proxy before it, and operators by fork."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import yaml

from modelyard_local.cluster import ControlPlane

from ..admin import Admin, access
from ..fake_status import NODES_STAY
from ..process import Endpoint, free_port
from ..waiting import until
from .background import Background
from .forkserver import ForkServer
from .journal import Journal
from .proxy import Proxy
from .resources import OURS

CRDS = Path(__file__).parents[3] / "crds"
RESYNCS = "modelyard_resyncs_total"


class Site:
    """For the whole session. Close it when done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The garbage collector learns of kinds when it starts, and then every 30 s only.
        ControlPlane(folder / "plane").start()
        plane = ControlPlane(folder / "plane")
        where = access(plane.kubeconfig, folder)
        self.admin = Admin(where)
        self.admin.install(CRDS)
        until(self._served, what="CRDs served")
        flags = {"kube-controller-manager": [NODES_STAY]}
        self.plane = ControlPlane(
            folder / "plane", controller_manager=True, more_flags=flags
        ).start()
        self.background = Background()
        self.proxy, self.journal = Proxy(where), Journal(where)
        self.background.run(self.proxy.start())
        self.background.run(self.journal.start())
        self.forks = ForkServer()
        self.port = free_port()
        self.kubeconfig = folder / "proxied"
        self.kubeconfig.write_text(_kubeconfig(self.proxy.url))

    def close(self) -> None:
        """Stop everything."""
        self.forks.stop()
        self.background.run(self.journal.stop())
        self.background.run(self.proxy.stop())
        self.background.stop()
        self.plane.stop()

    def _served(self) -> bool:
        kinds = [re.sub(r"\..*", "", path.name) for path in CRDS.glob("*.yaml")]
        return all((self.admin.get(f"{OURS}/{kind}") or {}).get("items") == [] for kind in kinds)


class Forked(Endpoint):
    """An operator that was forked off."""

    def __init__(self, site: Site, log: Path, settings: Mapping[str, str]) -> None:
        super().__init__(site.port)
        self._forks = site.forks
        env = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(site.kubeconfig),
            "MODELYARD_LISTEN_ADDRESS": "127.0.0.1",
            "MODELYARD_LISTEN_PORT": str(site.port),
            "MODELYARD_LEASE_NAMESPACE": "default",
            # As a pod of a StatefulSet would have it: its successor takes the Lease up at once.
            "MODELYARD_IDENTITY": "the-operator",
            "MODELYARD_LOG_FORMAT": "logfmt",
            **settings,
        }
        self.pid = self._forks.start(env, log)
        self._code: int | None = None

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except FileNotFoundError:
            return False
        return stat.rpartition(")")[2].split()[0] != "Z"

    def reap(self) -> int:
        """Wait for its end; the exit code."""
        if self._code is None:
            self._code = self._forks.reap(self.pid)
            self.http.close()
        return self._code

    def kill(self) -> int:
        """SIGKILL if it still runs, and wait for the end."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
        return self.reap()

    def resync(self) -> None:
        """Have everything listed and reconciled, and wait until that is done."""
        before = self.metric(RESYNCS)
        os.kill(self.pid, signal.SIGUSR1)
        until(lambda: self.metric(RESYNCS) > before and self.settled(), 20, "a resync", pause=0.02)


def _kubeconfig(url: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxied",
            "contexts": [{"name": "proxied", "context": {"cluster": "proxied", "user": "none"}}],
            "clusters": [{"name": "proxied", "cluster": {"server": url}}],
            "users": [{"name": "none", "user": {}}],
        }
    )
