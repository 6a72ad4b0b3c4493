"""Ends what a node leaves behind: pods' processes, shims, mounts, cgroups, log links.

Nothing here relies on containerd or kubelet being alive, as either may have been killed. A pod's
process is known by its mount namespace, whose root lies in the cluster's folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.machine import required_program
from modelyard_local.cluster.processes import MARKER, end_processes, start_ticks

_PROC = Path("/proc")
# How mountinfo writes spaces and the like.
_OCTAL = re.compile(r"\\([0-7]{3})")
_CGROUPS = Path("/sys/fs/cgroup")
_CONTAINER_LOGS = Path("/var/log/containers")


def end_pods(root: Path, grace: float) -> None:
    """Ends the processes in all containers: SIGTERM, after `grace` seconds SIGKILL."""
    end_processes(dict(_with_ticks(_pod_processes(root))), grace)


def wait_for_shims(root: Path, patience: float) -> None:
    """Gives containerd time to see that its pods ended, so that shims leave in an orderly way."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(_shims(root)):
        time.sleep(0.1)


def end_everything(root: Path) -> None:
    """Ends every process that belongs to the cluster: components, shims, helpers, pods."""
    for _attempt in range(3):
        # A runtime killed halfway may still have forked: look again.
        found = dict(_with_ticks(_cluster_processes(root)))
        if not found:
            return
        end_processes(found, grace=5.0)


def pods_alive(root: Path) -> bool:
    """Whether any container, or the shim that minds one, still runs."""
    return any(_shims(root)) or any(_pod_processes(root))


def remaining_processes(root: Path) -> list[int]:
    """Pids of everything that still belongs to the cluster."""
    return sorted(set(_cluster_processes(root)))


def mounts(folder: Path) -> list[Path]:
    """The mount points under `folder`, in the order in which they were mounted."""
    found = []
    for line in (_PROC / "self/mountinfo").read_text().splitlines():
        mounted = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split()[4]))
        if mounted.is_relative_to(folder):
            found.append(mounted)
    return found


def unmount(folder: Path) -> None:
    """Unmounts everything under `folder`. Raises ClusterError where a mount stays."""
    program = required_program("umount")
    for extra in ([], ["--lazy"]):
        left = mounts(folder)
        if not left:
            return
        # The last one mounted lies on top.
        command = [program, *extra, *map(str, reversed(left))]
        subprocess.run(command, capture_output=True, check=False)
    left = mounts(folder)
    if left:
        raise ClusterError(
            f"{', '.join(map(str, left))} could not be unmounted; see what uses it with "
            f"`fuser -vm {left[0]}`, end that, and run `modelyard cluster down` again"
        )


def remove_cgroups() -> None:
    """Removes kubelet's cgroups where no process is in them."""
    trees = [_CGROUPS / "kubepods", *_CGROUPS.glob("*/kubepods")]
    for tree in trees:
        for folder, _, _ in os.walk(tree, topdown=False):
            # Only an empty cgroup can be removed: another node's stay.
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def remove_log_links(pod_logs: Path) -> None:
    """Removes the links that kubelet keeps in /var/log/containers for log collectors."""
    with contextlib.suppress(FileNotFoundError):
        for link in _CONTAINER_LOGS.iterdir():
            if link.is_symlink() and link.readlink().is_relative_to(pod_logs):
                link.unlink(missing_ok=True)


def remove_fixed_folders() -> None:
    """Removes folders that kubelet makes whatever its root folder is, where they are empty."""
    plugins = Path("/var/lib/kubelet/device-plugins")
    with contextlib.suppress(OSError):
        (plugins / "kubelet.sock").unlink()
    for folder in (plugins, plugins.parent, _CONTAINER_LOGS):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _with_ticks(pids: Iterator[int]) -> Iterator[tuple[int, int]]:
    for pid in pids:
        ticks = start_ticks(pid)
        if ticks is not None:
            yield pid, ticks


def _pod_processes(root: Path) -> Iterator[int]:
    own = os.readlink(_PROC / "self/ns/mnt")
    node = f"{root}/node/"
    for pid in _pids():
        with contextlib.suppress(OSError):
            if os.readlink(_PROC / str(pid) / "ns/mnt") == own:
                continue
            # Any other sandbox on the machine (an image build, a service with a private /tmp) has
            # copies of the cluster's mounts: only what "/" is made of tells a pod.
            lines = (_PROC / str(pid) / "mountinfo").read_text().splitlines()
            if any(node in line for line in lines if line.split()[4] == "/"):
                yield pid


def _marked(root: Path) -> Iterator[int]:
    wanted = f"{MARKER}={root}:".encode()
    for pid in _pids():
        with contextlib.suppress(OSError):
            entries = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
            if any(entry.startswith(wanted) for entry in entries):
                yield pid


def _shims(root: Path) -> Iterator[int]:
    socket = f"{root}/node/run/containerd.sock".encode()
    for pid in _pids():
        with contextlib.suppress(OSError):
            arguments = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in arguments[0] and socket in arguments:
                yield pid


def _cluster_processes(root: Path) -> Iterator[int]:
    yield from _marked(root)
    yield from _shims(root)
    yield from _pod_processes(root)
