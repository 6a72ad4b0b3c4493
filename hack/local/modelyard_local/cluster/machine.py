"""What a full cluster needs of the machine: checked first, and installed where apt can.

A missing package or capability would otherwise show as a pod that never starts, minutes later.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.progress import Progress, Ticker, duration

_CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
# Program → Debian package. By program: Docker's containerd.io conflicts with Debian's containerd.
_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "catatonit": "catatonit",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "umount": "mount",
}
_CGROUP_CONTROLLERS = ("cpu", "memory", "pids")
_CAP_SYS_RESOURCE = 24


def check() -> None:
    """Raises ClusterError where a node cannot run here, whatever would be installed."""
    if sys.platform != "linux":
        raise ClusterError("The local cluster runs on Linux only; use kind, or a cluster you have")
    if os.geteuid() != 0:
        raise ClusterError(
            "The local cluster's node (kubelet, containerd, network) needs root: run the command "
            "with sudo. `modelyard cluster up --mode control-plane` does not need it"
        )
    _check_cgroups()
    missing = missing_packages()
    if missing and not shutil.which("apt-get"):
        raise ClusterError(
            f"The node needs programs of the Debian packages {', '.join(missing)}, and only "
            "Debian's and Ubuntu's apt-get is supported: install what matches them by hand"
        )


def prepare(progress: Progress) -> None:
    """Makes sure that a node can run here, installing what is missing. Raises ClusterError."""
    check()
    missing = missing_packages()
    if missing:
        _install(missing, progress)
        still = missing_packages()
        if still:
            raise ClusterError(
                f"apt-get installed {', '.join(still)}, but their programs are not on PATH "
                f"({os.environ.get('PATH', '')})"
            )


def missing_packages() -> list[str]:
    """The Debian packages whose programs are not there."""
    packages = {package for program, package in _PROGRAMS.items() if not program_path(program)}
    if cni_folder() is None:
        packages.add("containernetworking-plugins")
    return sorted(packages)


def program_path(name: str) -> str | None:
    """Where a program lies; also looks in the sbin folders that a user's PATH may lack."""
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    return shutil.which(name, path=path)


def required_program(name: str) -> str:
    """`program_path` of a program that `prepare` has made sure of."""
    path = program_path(name)
    if not path:
        raise ClusterError(f"The program {name} is not on PATH (Debian package {_PROGRAMS[name]})")
    return path


def cni_folder() -> Path | None:
    """The folder with the CNI plugins that the network needs."""
    for folder in _CNI_FOLDERS:
        if all(os.access(folder / plugin, os.X_OK) for plugin in _CNI_PLUGINS):
            return folder
    return None


def may_lower_oom_score() -> bool:
    """Whether this process may protect others from the OOM killer (CAP_SYS_RESOURCE)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`, as `ext4` or `overlay`."""
    best, kind = Path("/"), ""
    real = path.resolve()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mounted = Path(left.split()[4].replace("\\040", " "))
        if real.is_relative_to(mounted) and len(mounted.parts) >= len(best.parts):
            best, kind = mounted, right.split()[0]
    return kind


def _check_cgroups() -> None:
    root = Path("/sys/fs/cgroup")
    unified = root / "cgroup.controllers"
    if unified.exists():
        present = set(unified.read_text().split())
    else:
        present = {path.name for path in root.iterdir()} if root.is_dir() else set()
    lacking = [name for name in _CGROUP_CONTROLLERS if name not in present]
    if lacking:
        raise ClusterError(
            f"This machine offers no cgroup controller {', '.join(lacking)} under {root}, which "
            "kubelet needs; in a container, give it a writable /sys/fs/cgroup, on a Raspberry Pi "
            "add `cgroup_enable=memory` to the kernel's command line"
        )


def _install(packages: list[str], progress: Progress) -> None:
    progress(f"apt-get: installing {', '.join(packages)}")
    ticker = Ticker()
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends"]
    # Another apt (unattended upgrades) may run: wait for it instead of failing.
    install += ["-o", "DPkg::Lock::Timeout=120", *packages]
    last = ""
    for command in (install, ["apt-get", "update"], install):
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        last = (result.stdout + result.stderr).strip()
        if command is install and result.returncode == 0:
            progress(f"apt-get: done after {duration(ticker.elapsed)}")
            return
    raise ClusterError(
        f"apt-get could not install {', '.join(packages)}; its last words:\n{last[-1500:]}"
    )
