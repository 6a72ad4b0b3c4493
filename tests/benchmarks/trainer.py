"""Kubeflow Trainer v2 and JobSet: TrainJob → JobSet → Job (peers/trainer/main.go)."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

from modelyard.kube.kinds import KubeKind
from modelyard_local.cluster.binaries import Module, ensure_module
from modelyard_local.cluster.progress import Progress, silent

from .api import SPACE, Manifest
from .arms import JOB, Arm
from .processes import Process, fetch, until
from .site import UNLIMITED, Site, free_port

PEERS = Path(__file__).parent / "peers"
MODULE = Module(
    "trainer",
    source="github.com/kubeflow/trainer/v2",
    binaries={"trainer": "."},
    sources=("go.mod", "go.sum", "main.go"),
    home=PEERS,
)
TRAINJOB = KubeKind("TrainJob", "trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob")
RUNTIME = KubeKind(
    "ClusterTrainingRuntime",
    "trainer.kubeflow.org",
    "v1alpha1",
    "clustertrainingruntimes",
    "ClusterTrainingRuntime",
)
_CRDS = {
    "github.com/kubeflow/trainer/v2": "manifests/base/crds/trainer.kubeflow.org_*.yaml",
    "sigs.k8s.io/jobset": "config/components/crd/bases/*.yaml",
}


class Trainer(Arm):
    """Both projects' controllers in one process."""

    name, label = "trainer", "Kubeflow Trainer v2, TrainJob → JobSet → Job"
    owner, child = TRAINJOB, JOB

    def __init__(self, site: Site, binary: Path) -> None:
        super().__init__(site)
        self._port = free_port()
        command = [
            str(binary),
            f"--kube-api-qps={UNLIMITED}",
            f"--kube-api-burst={UNLIMITED}",
            f"--workers={site.workers}",
            f"--health-probe-bind-address=127.0.0.1:{self._port}",
        ]
        environment = {"KUBECONFIG": str(site.kubeconfig)}
        self._process = Process(command, environment, site.folder / "trainer.log")

    async def prepare(self, job: Manifest) -> None:
        """Installs the CRDs, and a training runtime whose Job is like `job`."""
        await self.site.install(crd_files())
        await self.site.api.create(RUNTIME, training_runtime(job), namespace="")

    async def start(self, objects: int) -> None:
        self._process.start()
        await until(self._ready, 60, "Trainer's controllers are ready")

    def stop(self) -> None:
        self._process.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def manifest(self, name: str, number: int) -> Manifest:
        return {
            "apiVersion": TRAINJOB.api_version,
            "kind": "TrainJob",
            "metadata": {"name": name, "namespace": SPACE},
            "spec": {"runtimeRef": {"name": "bench"}},
        }

    async def _ready(self) -> bool:
        self._process.check()
        return await fetch(f"http://127.0.0.1:{self._port}/readyz") is not None


def build(progress: Progress = silent) -> Path:
    """The peer's binary, built first where the cache lacks it (some minutes)."""
    return ensure_module(MODULE, progress)["trainer"]


def crd_files() -> list[Path]:
    """The CRDs of both projects, as their modules ship them in Go's module cache."""
    found: list[Path] = []
    for module, pattern in _CRDS.items():
        asked = subprocess.run(
            ["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module],
            cwd=MODULE.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        folder = asked.stdout.strip()
        if not folder:
            subprocess.run(["go", "mod", "download", module], cwd=MODULE.folder, check=True)
            return crd_files()
        found += sorted(Path(folder).glob(pattern))
    return found


def training_runtime(job: Manifest) -> Manifest:
    """A ClusterTrainingRuntime with one node that runs the pod of `job`.

    It says what JobSet's defaulting webhook would fill in, but for the headless Service: a
    training on one node needs none, and ours makes none.
    """
    spec = copy.deepcopy(job["spec"])
    spec["completionMode"] = "Indexed"
    # Trainer knows its own container by this name.
    spec["template"]["spec"]["containers"][0]["name"] = "node"
    for rule in spec["podFailurePolicy"]["rules"]:
        if "onExitCodes" in rule:
            rule["onExitCodes"]["containerName"] = "node"
    metadata = spec["template"]["metadata"]
    spec["template"]["metadata"] = {k: metadata[k] for k in ("labels", "annotations")}
    node = {
        "name": "node",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": spec,
        },
    }
    template = {
        "successPolicy": {"operator": "All"},
        "startupPolicy": {"startupPolicyOrder": "AnyOrder"},
        "network": {"enableDNSHostnames": False, "publishNotReadyAddresses": True},
        "replicatedJobs": [node],
    }
    return {
        "apiVersion": RUNTIME.api_version,
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": "bench"},
        "spec": {"mlPolicy": {"numNodes": 1}, "template": {"spec": template}},
    }
