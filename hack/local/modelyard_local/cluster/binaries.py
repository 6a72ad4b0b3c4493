"""The programs that a local cluster runs, built once from pinned sources and then reused.

No registry that is reachable everywhere ships these binaries, but the Go module proxy serves their
sources: `tools/<module>/` holds a go.mod and go.sum each (see its README). A binary lies in
`<cache>/bin/<module>/<version>-<hash>/`, where the hash covers everything that decides what is
built, so an unchanged pin is never built twice and a changed one never reuses the old file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from modelyard_local.cluster import gobuild, helm
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.files import locked
from modelyard_local.cluster.paths import TOOL_MODULES, cache_home
from modelyard_local.cluster.progress import Progress, Ticker, duration, silent


@dataclass(frozen=True)
class Module:
    """One Go tool module and the binaries that come out of it."""

    name: str
    source: str
    """The Go module whose version, as go.mod requires it, is the binaries' version."""
    binaries: dict[str, str]
    """Binary name → Go package."""
    stamp: str = ""
    """Linker flags that stamp the version; `{version}`, `{major}`, `{minor}` are filled in."""
    tags: str = ""
    """Build tags, with commas between them."""
    sources: tuple[str, ...] = field(default=("go.mod", "go.sum"))
    home: Path = TOOL_MODULES
    """The folder that holds the module's own folder, which has its name."""

    @property
    def folder(self) -> Path:
        """Where the module's go.mod lies."""
        return self.home / self.name

    def version(self) -> str:
        """The pinned version, as `v1.36.3`."""
        found = re.search(
            rf"^\s*(?:require )?{re.escape(self.source)} (v\S+)",
            (self.folder / "go.mod").read_text(),
            re.MULTILINE,
        )
        if not found:
            raise ClusterError(f"{self.folder}/go.mod does not require {self.source}")
        return found[1]

    def linker_flags(self) -> str:
        """`-ldflags` of the build: no debug tables, and the version where wanted."""
        version = self.version()
        major, minor = version[1:].split(".")[:2]
        stamp = self.stamp.format(version=version, major=major, minor=minor)
        return f"-s -w {stamp}".strip()

    def key(self) -> str:
        """Names the folder of a build: version and a hash of all that decides what is built."""
        digest = hashlib.sha256(f"{self.linker_flags()}{self.tags}".encode())
        for name in self.sources:
            digest.update((self.folder / name).read_bytes())
        return f"{self.version()}-{digest.hexdigest()[:10]}"


_KUBERNETES = ("apiserver", "controller-manager", "scheduler", "proxy")
# Some version checks misbehave when these are not set.
_KUBERNETES_STAMP = " ".join(
    f"-X k8s.io/component-base/version.{field}={{{value}}}"
    for field, value in (("gitVersion", "version"), ("gitMajor", "major"), ("gitMinor", "minor"))
)
MODULES = {
    module.name: module
    for module in (
        Module(
            "kubernetes",
            source="k8s.io/kubernetes",
            binaries={f"kube-{name}": f"k8s.io/kubernetes/cmd/kube-{name}" for name in _KUBERNETES}
            | {name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kubectl", "kubelet")},
            stamp=_KUBERNETES_STAMP,
        ),
        Module(
            "etcd",
            source="go.etcd.io/etcd/server/v3",
            binaries={"etcd": "go.etcd.io/etcd/server/v3"},
        ),
        Module(
            "kwok",
            source="sigs.k8s.io/kwok",
            binaries={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
            stamp="-X sigs.k8s.io/kwok/pkg/consts.Version={version}",
        ),
        Module(
            "coredns",
            source="github.com/coredns/coredns",
            binaries={"coredns": "."},
            sources=("go.mod", "go.sum", "main.go"),
        ),
        Module(
            "netpol",
            source="sigs.k8s.io/kube-network-policies",
            binaries={"kube-network-policies": "."},
            sources=("go.mod", "go.sum", "main.go"),
        ),
        Module(
            "versitygw",
            source="github.com/versity/versitygw",
            binaries={"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
        ),
        Module(
            "traefik",
            source="github.com/traefik/traefik/v3",
            binaries={"traefik": "github.com/traefik/traefik/v3/cmd/traefik"},
        ),
        Module(
            "prometheus",
            source="github.com/prometheus/prometheus",
            binaries={
                name: f"github.com/prometheus/prometheus/cmd/{name}"
                for name in ("prometheus", "promtool")
            },
            # Without clouds' service discoveries, whose SDKs are most of the build.
            tags="remove_all_sd",
        ),
    )
}
_MODULE_OF = {binary: module for module in MODULES.values() for binary in module.binaries}
# envtest's convention: the folder holds a control plane of the user's own choice.
_ENVTEST = ("etcd", "kube-apiserver", "kubectl")


def ensure(tool: str, progress: Progress = silent) -> Path:
    """The path of a runnable `tool`, built first where the cache lacks it.

    `KUBEBUILDER_ASSETS` is honoured for etcd, kube-apiserver and kubectl, and a `helm` on PATH of
    a supported version is used as it is. Raises ClusterError where the tool is unknown, Go is
    missing, or the build fails.
    """
    return ensure_all([tool], progress)[tool]


def ensure_all(tools: Iterable[str], progress: Progress = silent) -> dict[str, Path]:
    """`ensure` for several tools, different modules side by side. Same errors."""
    found: dict[str, Path] = {}
    missing: dict[Path, list[str]] = {}
    for tool in dict.fromkeys(tools):
        path = _present(tool)
        if path:
            found[tool] = path
        else:
            missing.setdefault(cached(tool).parent, []).append(tool)
    if missing:
        # Two at a time: a Go build fills the cores by itself except while it links.
        with ThreadPoolExecutor(max_workers=2) as pool:
            builds = [pool.submit(_make, *item, progress) for item in missing.items()]
            for build in builds:
                found.update(build.result())
    return found


def ensure_module(module: Module, progress: Progress = silent) -> dict[str, Path]:
    """The binaries of a module that is none of MODULES, built first where the cache lacks them.

    Raises ClusterError where Go is missing or the build fails.
    """
    final = cache_home() / "bin" / module.name / module.key()
    found = {tool: final / tool for tool in module.binaries}
    if all(os.access(path, os.X_OK) for path in found.values()):
        return found
    return _make(final, list(module.binaries), progress, module)


def cached(tool: str) -> Path:
    """Where `tool` lies, or will lie, in the cache. Raises ClusterError for an unknown tool."""
    home = cache_home() / "bin"
    if tool == "helm":
        return home / "helm" / helm.KEY / "helm"
    module = _MODULE_OF.get(tool)
    if module is None:
        known = ", ".join(sorted([*_MODULE_OF, "helm"]))
        raise ClusterError(f"There is no tool '{tool}'; known are: {known}")
    return home / module.name / module.key() / tool


def _present(tool: str) -> Path | None:
    path = cached(tool)
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and tool in _ENVTEST:
        given = Path(assets) / tool
        if not os.access(given, os.X_OK):
            raise ClusterError(
                f"KUBEBUILDER_ASSETS is {assets}, but there is no runnable {tool} in it; "
                "complete the folder (setup-envtest use -p path) or unset the variable"
            )
        return given
    if tool == "helm":
        on_path = helm.on_path()
        if on_path:
            return on_path
    return path if os.access(path, os.X_OK) else None


def _make(
    final: Path, tools: list[str], progress: Progress, module: Module | None = None
) -> dict[str, Path]:
    """Puts `tools`, all of one module, into its cache folder `final`."""
    home = final.parent
    with locked(
        home / ".lock", waiting_for=f"the build of {home.name}", timeout=7200, progress=progress
    ):
        # Another process may have built it while this one waited.
        missing = [tool for tool in tools if not os.access(final / tool, os.X_OK)]
        if missing:
            _build(final, missing, progress, module or _MODULE_OF.get(missing[0]))
    return {tool: final / tool for tool in tools}


def _build(final: Path, tools: list[str], progress: Progress, module: Module | None) -> None:
    ticker = Ticker()
    # In the cache's own file system, so that the last step is a rename.
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".build-") as temporary:
        folder = Path(temporary)
        if module is None:
            label = "helm"
            helm.download(folder / "helm", progress)
        else:
            label = f"{module.name} {module.version()}"
            gobuild.build(
                module.folder,
                {folder / tool: module.binaries[tool] for tool in tools},
                linker_flags=module.linker_flags(),
                label=label,
                progress=progress,
                tags=module.tags,
            )
        final.mkdir(exist_ok=True)
        for tool in tools:
            (folder / tool).chmod(0o755)
            os.replace(folder / tool, final / tool)
    _remove_old(final)
    progress(f"{label}: {', '.join(tools)} ready after {duration(ticker.elapsed)}")


def _remove_old(current: Path, generations: int = 2) -> None:
    """Keeps the newest builds of a module (someone may switch between two branches)."""
    builds = sorted(
        (path for path in current.parent.iterdir() if not path.name.startswith(".")),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    for path in [path for path in builds if path != current][generations:]:
        shutil.rmtree(path, ignore_errors=True)
