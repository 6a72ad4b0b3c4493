"""What a node is made of: addresses, generated configuration, images, storage, messages."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from modelyard_local.cluster import images, machine, network, node, ports, teardown
from modelyard_local.cluster.addons import addons
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.files import locked, write_atomic
from modelyard_local.cluster.manage import Settings
from modelyard_local.cluster.network import Network
from modelyard_local.cluster.paths import Layout, cluster_folder
from modelyard_local.cluster.volumes import IN_STOCK, keep_stock, persistent_volume


def test_addresses_follow_the_subnets() -> None:
    addresses = Network("10.9.0.0/24", "10.8.0.0/16")
    assert addresses.node_address == "10.9.0.1"
    assert addresses.dns_address == "10.8.0.10"


@pytest.mark.parametrize(
    ("subnet", "message"),
    [("10.0.0.1/24", "host bits"), ("8.8.8.0/24", "private"), ("10.0.0.0/30", "64 addresses")],
)
def test_unusable_subnets_are_refused(subnet: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        Settings(pod_subnet=subnet)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ClusterError, match="Mode 'tiny' is unknown; use full or control-plane"):
        Settings(mode="tiny")


def test_settings_come_back(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "c")
    assert Settings.read(layout) is None
    Settings(mode="control-plane", kwok=True).write(layout)
    assert Settings.read(layout) == Settings(mode="control-plane", kwok=True)
    layout.settings.write_text('{"mode": 1')
    with pytest.raises(ClusterError, match="down --purge"):
        Settings.read(layout)


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a/b", "..", "x" * 41])
def test_names_that_are_no_folder_and_no_node_name_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot name a cluster"):
        cluster_folder(name)


def test_a_state_folder_too_deep_for_sockets_is_refused() -> None:
    node.check_socket_paths(Layout(Path("/root/.local/state/modelyard/clusters/local")))
    with pytest.raises(ClusterError, match="set XDG_STATE_HOME"):
        node.check_socket_paths(Layout(Path("/home/someone", "long" * 10, "state/modelyard/c")))


def test_ports_are_remembered_and_avoid_taken_ones(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = ports.remembered(file, ["a", "b"])
    assert len(set(first.values())) == 2
    assert ports.remembered(file, ["a", "b", "c"]).items() >= first.items()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert not ports.is_free(other.getsockname()[1])
    ports.forget(file, ["a"])
    assert "a" not in json.loads(file.read_text())


def test_dns_is_served_at_the_tenth_service_address() -> None:
    documents = {document["kind"]: document for _, document in addons(Network(), 5353)}
    assert documents["Service"]["spec"]["clusterIP"] == "10.96.0.10"
    assert documents["EndpointSlice"]["endpoints"][0]["addresses"] == ["10.244.0.1"]
    assert {port["port"] for port in documents["EndpointSlice"]["ports"]} == {5353}


def test_pods_are_on_the_bridge_and_leave_no_addresses_outside_the_folder(tmp_path: Path) -> None:
    plugins = network.cni_configuration(Network(), tmp_path)["plugins"]
    assert plugins[0]["bridge"] == network.BRIDGE
    assert plugins[0]["ipam"]["dataDir"] == str(tmp_path)


def test_an_image_archive_is_reproducible_and_complete(tmp_path: Path) -> None:
    for name in ("one", "two"):
        images.write_archive(tmp_path / name, "example.com/a:1", {"a": b"program"}, ["/a"])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with tarfile.open(tmp_path / "one") as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}
    manifest = json.loads(content["index.json"])["manifests"][0]
    described = json.loads(content[f"blobs/sha256/{manifest['digest'][7:]}"])
    layer = content[f"blobs/sha256/{described['layers'][0]['digest'][7:]}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert tar.getmember("a").mode == 0o755


@pytest.mark.parametrize("content", [None, b"no tar", b""])
def test_what_is_no_image_archive_is_refused(content: bytes | None, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    if content is not None:
        archive.write_bytes(content)
    with pytest.raises(ClusterError, match=r"image\.tar"):
        images.ImageStore(tmp_path / "no.sock").import_archive(archive)


class Volumes:
    """The few calls of the API that the stock keeper makes."""

    def __init__(self) -> None:
        self.items: dict[str, dict] = {}

    def get(self, path: str) -> dict:
        return {"items": list(self.items.values())}

    def apply(self, path: str, document: dict) -> None:
        self.items[document["metadata"]["name"]] = document | {"status": {"phase": "Available"}}

    def delete(self, path: str) -> None:
        del self.items[path.rpartition("/")[2]]


def test_volumes_are_replaced_once_their_claim_is_gone(tmp_path: Path) -> None:
    api = Volumes()
    keep_stock(api, tmp_path, "local")
    assert len(api.items) == IN_STOCK
    bound, released, *_ = api.items
    (tmp_path / released / "data").write_text("old")
    api.items[bound]["status"]["phase"] = "Bound"
    api.items[released]["status"]["phase"] = "Released"
    keep_stock(api, tmp_path, "local")
    assert bound in api.items
    assert released not in api.items
    assert not (tmp_path / released).exists()
    assert len(api.items) == IN_STOCK + 1
    assert {path.name for path in tmp_path.iterdir()} == set(api.items)


def test_a_volume_takes_any_claim_and_stays_on_its_node(tmp_path: Path) -> None:
    spec = persistent_volume("v", tmp_path, "local")["spec"]
    assert spec["capacity"] == {"storage": "1Ti"}
    assert "'local'" in str(spec["nodeAffinity"])


def test_needs_root_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"needs root: run the command with sudo"):
        machine.check()


def test_other_distributions_are_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine, "missing_packages", lambda: ["containerd", "runc"])
    monkeypatch.setattr(machine.shutil, "which", lambda name, path=None: None)
    with pytest.raises(ClusterError, match=r"containerd, runc.*by hand"):
        machine.check()


def test_finds_no_mounts_where_there_are_none(tmp_path: Path) -> None:
    assert teardown.mounts(tmp_path) == []
    assert Path("/proc") in teardown.mounts(Path("/proc"))


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a mount")
def test_a_sandbox_that_only_sees_the_clusters_mounts_is_not_one_of_its_pods(
    tmp_path: Path,
) -> None:
    mounted = tmp_path / "node/containerd"
    mounted.mkdir(parents=True)
    script = f"mount -t tmpfs tmpfs {mounted} && echo ready && exec sleep 60"
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True
    ) as build:
        try:
            assert build.stdout is not None
            assert build.stdout.readline() == "ready\n"
            assert str(mounted) in Path(f"/proc/{build.pid}/mountinfo").read_text()
            assert teardown.remaining_processes(tmp_path) == []
        finally:
            build.kill()


def test_a_lock_is_exclusive_and_survives_the_removal_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with locked(file, waiting_for="the first"):
        with (
            pytest.raises(ClusterError, match="held the second"),
            locked(file, waiting_for="the second", timeout=0),
        ):
            pass
        file.unlink()
    with locked(file, waiting_for="the third", timeout=0):
        assert file.exists()


def test_unchanged_files_are_not_written(tmp_path: Path) -> None:
    assert write_atomic(tmp_path / "a/b", "text")
    assert not write_atomic(tmp_path / "a/b", "text")
    assert write_atomic(tmp_path / "a/b", "other")
