"""Stages of a Job's pod: containers that run one after the other before `main`.

A `.pt` file is a pickle, so loading one may run any code. The pods that load one (exports,
evaluations) are therefore cut into containers:

    fetch      store credentials; moves bytes, loads nothing         writes inputs (and labels)
    isolated   no credentials, no token, no network; loads weights   reads inputs, writes outputs
    judge      (evaluations) no credentials, no network;             reads inputs, labels, outputs,
               loads ONNX files, no .pt file                         writes judged
    main       store credentials; checks, publishes, reports         reads inputs, and outputs of
                                                                     an export, else judged

What the code in a `.pt` file can do is then: write any bytes into `outputs`, and use up its own
CPU, memory and time. It cannot
- change tools or what is judged: images are read-only, /tmp and the scratch directory are each
  container's own, and `inputs` is read-only for it;
- act after its turn: an init container and everything in it has ended before the next one starts;
- reach other processes: containers of a pod do not share a process namespace;
- use the network, which it shares with the other containers: workloads/isolation.py takes it away;
- speak for the pod: only the termination message and the exit code of `main` count (jobstate.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelyard.contract import paths
from modelyard.core import pods

MAX_OUTPUT = "32Gi"
"""Maximum size of the volume that an isolated stage writes to."""


@dataclass(frozen=True)
class Stage:
    """One container, and the volumes between stages that it sees."""

    name: str
    store: bool = False
    """Has the store's credentials, or its volume, and the run spec as the operator wrote it."""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def volumes(stages: tuple[Stage, ...], memory: str) -> list[dict[str, Any]]:
    """The volumes between stages, and those that each stage has to itself. `memory` is the limit
    of each container."""
    between = sorted({name for stage in stages for name in (*stage.reads, *stage.writes)})
    found = [
        {"name": name, "emptyDir": {"sizeLimit": MAX_OUTPUT} if name == paths.OUTPUTS else {}}
        for name in between
    ]
    for stage in stages:
        found.extend(volume for volume, _ in _own(stage, memory))
    return found


def mounts(stage: Stage) -> list[dict[str, Any]]:
    """The mounts of the volumes between stages."""
    return [
        {"name": name, "mountPath": str(paths.WORK / name), "readOnly": name not in stage.writes}
        for name in sorted({*stage.reads, *stage.writes})
    ]


def init_container(stage: Stage, main: dict[str, Any], store: list[Any]) -> dict[str, Any]:
    """The container of a stage, beside the pod's `main`, which has the rest of its settings.

    `store` are the mounts of a directory store.
    """
    given = {one["name"]: one for one in main["env"]}
    if stage.store:
        env, own = list(given.values()), [pods.run_volume()[1], *store]
    else:
        # From `inputs`: without the URI of the weights, which may carry a password.
        run = str(paths.WORK / paths.INPUTS / paths.RUN_FILE.name)
        names = [one["name"] for one in pods.identity_env()]
        env, own = [*(given[n] for n in names), {"name": paths.RUN_ENV, "value": run}], []
    return {
        **main,
        "name": stage.name,
        "command": [*main["command"], stage.name],
        "env": env,
        "volumeMounts": [*(mount for _, mount in _own(stage, "")), *own, *mounts(stage)],
    }


def _own(stage: Stage, memory: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Volumes that a stage writes to and no other container sees."""
    found = [
        pods.empty_dir(f"scratch-{stage.name}", str(paths.SCRATCH)),
        pods.empty_dir(f"tmp-{stage.name}", "/tmp"),  # noqa: S108
    ]
    if not stage.store:
        # Data loaders hand over images in shared memory, which counts as the container's.
        shared = {"medium": "Memory", "sizeLimit": memory}
        found.append(pods.empty_dir(f"shm-{stage.name}", "/dev/shm", **shared))  # noqa: S108
    return found
