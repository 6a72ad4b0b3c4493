"""Paths inside workload pods, and keys in the store."""

from __future__ import annotations

from pathlib import Path

RUN_ANNOTATION = "modelyard.dev/run"
"""Pod annotation that carries the run spec; the downward API mounts it as RUN_FILE."""

RUN_FILE = Path("/etc/modelyard/run.json")
SCRATCH = Path("/scratch")
"""Writable emptyDir of jobs; the root file system is read-only."""
RUN_ENV = "MODELYARD_RUN"
"""Variable with the path of the run spec, where that is not RUN_FILE."""
FETCH, ISOLATED, JUDGE = "fetch", "isolated", "judge"
"""Containers before a pod's last one, and arguments of a workload's module: see core/stages.py."""
WORK = Path("/work")
"""Volumes that hand files from one stage of a Job's pod to the next: INPUTS, LABELS, OUTPUTS,
JUDGED."""
INPUTS = "inputs"
"""What the first stage has fetched; all stages may read it."""
LABELS = "labels"
"""Labels of the holdout: only the container that judges may read them."""
OUTPUTS = "outputs"
"""What a stage without credentials has written. Its content is not to be trusted."""
JUDGED = "judged"
"""What the container that judges has found, for the one that publishes and reports."""
SOURCE = Path("/source")
"""Where a Dataset's PersistentVolumeClaim is mounted, read-only."""
MODELS = Path("/models")
"""Triton's model repository, shared by Triton and the agent."""
AGENT_CACHE = Path("/var/cache/modelyard")
"""The agent's cache of artifacts and of its last assignment."""
SPOOL = Path("/spool")
"""Where Triton leaves copies of sampled requests for the agent; kept in memory, of limited size."""
DISK_LIMIT_VARIABLE = "MODELYARD_DISK_BYTES"
"""Environment variable with the bytes that a Job's pod may have on the node's disk."""
TERMINATION_LOG = Path("/dev/termination-log")
STORE_MOUNT = Path("/var/lib/modelyard/store")
"""Where a directory store's volume is mounted."""


BLOBS = "blobs/"
RUNS = "runs/"
WEIGHTS = "weights/"
COLLECTOR = "_collector/"
"""The collector's own state."""
COLLECTOR_STATE = f"{COLLECTOR}state.json"
SWEEPS = f"{COLLECTOR}sweeps/"
"""One key for each sweep that is deleting now; see store/fences.py."""


def blob_key(digest: str) -> str:
    """Key of a blob, `sha256:…` → `blobs/sha256/…`."""
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def checkpoint_key(run_key: str) -> str:
    """Key of the pointer to a training's last checkpoint."""
    return f"runs/{run_key}/checkpoint.json"


def result_key(run_key: str) -> str:
    """Key of the pointer to a finished training's result."""
    return f"runs/{run_key}/result.json"


def weights_key(name: str) -> str:
    """Key of the pointer to mirrored pretrained weights, such as yolo11n.pt."""
    return f"weights/{name}.json"
