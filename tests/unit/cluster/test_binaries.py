"""Which binary is handed out, and when it has to be built again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from modelyard_local.cluster import helm
from modelyard_local.cluster.binaries import (
    MODULES,
    Module,
    cached,
    ensure,
    ensure_all,
    ensure_module,
)
from modelyard_local.cluster.errors import ClusterError

GREETER = {
    "go.mod": "module example.com/greeter\n\ngo 1.21\n",
    "main.go": 'package main\n\nvar version string\n\nfunc main() { println("hi " + version) }\n',
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no control plane of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path


def program(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_every_module_pins_its_version_and_names_its_binaries() -> None:
    for module in MODULES.values():
        assert module.version().startswith("v")
        assert module.key().startswith(f"{module.version()}-")
    assert MODULES["kubernetes"].version() == "v1.36.3"


def test_kubernetes_is_told_its_version() -> None:
    flags = MODULES["kubernetes"].linker_flags()
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X k8s.io/component-base/version.gitMinor=36" in flags


def test_a_cached_binary_is_used_without_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache / "empty"))
    there = program(cached("etcd"))
    assert ensure("etcd") == there
    assert cache in there.parents


def test_a_missing_go_is_an_error_that_says_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(cache / "empty"))
    with pytest.raises(ClusterError, match=r"Go is not installed.*https://go.dev/dl"):
        ensure("etcd")


def test_an_unknown_tool_is_refused(cache: Path) -> None:
    with pytest.raises(ClusterError, match=r"There is no tool 'etcdd'; known are: .*etcd"):
        ensure("etcdd")


def test_assets_of_envtest_win_for_the_control_plane_only(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = cache / "assets"
    for name in ("etcd", "kube-apiserver", "kubectl", "kubelet"):
        program(assets / name)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    program(cached("kubelet"))
    found = ensure_all(["etcd", "kube-apiserver", "kubectl", "kubelet"])
    assert [path.parent == assets for path in found.values()] == [True, True, True, False]


def test_incomplete_assets_are_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(cache))
    with pytest.raises(ClusterError, match="no runnable etcd in it"):
        ensure("etcd")


@pytest.mark.parametrize(
    ("version", "used"), [("v3.19.2", True), ("v4.1.0", True), ("v3.9.0", False)]
)
def test_the_users_helm_is_used_where_it_is_new_enough(
    version: str, used: bool, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = program(cache / "path/helm", f"{version}+gabc")
    monkeypatch.setenv("PATH", f"{own.parent}:/usr/bin:/bin")
    assert (helm.on_path() == own) is used


@pytest.mark.skipif(not shutil.which("go"), reason="Go is not installed")
def test_builds_stamps_and_rebuilds_only_on_a_change(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Go keeps its own cache below XDG_CACHE_HOME: an empty one would compile the runtime.
    monkeypatch.setenv("GOCACHE", str(Path.home() / ".cache/go-build"))
    sources = cache / "tools"
    (sources / "greeter").mkdir(parents=True)
    for name, text in GREETER.items():
        (sources / "greeter" / name).write_text(text)
    module = Module(
        "greeter",
        source="example.com/greeter",
        binaries={"greeter": "."},
        stamp="-X main.version={version}",
        sources=tuple(GREETER),
        home=sources,
    )
    lines: list[str] = []
    monkeypatch.setattr(Module, "version", lambda self: "v1.2.3")
    first = ensure_module(module, lines.append)["greeter"]
    said = subprocess.run([first], capture_output=True, text=True, check=True).stderr
    assert said == "hi v1.2.3\n"
    assert lines[-1].startswith("greeter v1.2.3: greeter ready after")
    made = first.stat().st_mtime_ns
    assert ensure_module(module)["greeter"] == first
    assert first.stat().st_mtime_ns == made
    (sources / "greeter/main.go").write_text(GREETER["main.go"].replace("hi", "bye"))
    second = ensure_module(module)["greeter"]
    assert second != first
    assert [path.name for path in first.parent.iterdir()] == ["greeter"]
    (sources / "greeter/main.go").write_text("package main\n\nfunc main() { nonsense() }\n")
    with pytest.raises(ClusterError, match="undefined: nonsense"):
        ensure_module(module)


@pytest.mark.skipif(not shutil.which("go"), reason="Go is not installed")
def test_build_tags_choose_files_and_make_another_build(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOCACHE", str(Path.home() / ".cache/go-build"))
    monkeypatch.setattr(Module, "version", lambda self: "v1.2.3")
    folder = cache / "tools/greeter"
    folder.mkdir(parents=True)
    files = {
        "go.mod": GREETER["go.mod"],
        "main.go": 'package main\n\nvar says = "all"\n\nfunc main() { println(says) }\n',
        "little.go": '//go:build little\n\npackage main\n\nfunc init() { says = "little" }\n',
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    for tags, said in (("", "all"), ("little", "little")):
        module = Module(
            "greeter",
            source="example.com/greeter",
            binaries={"greeter": "."},
            tags=tags,
            sources=tuple(files),
            home=folder.parent,
        )
        program = ensure_module(module)["greeter"]
        done = subprocess.run([program], capture_output=True, text=True, check=True)
        assert done.stderr == f"{said}\n"
