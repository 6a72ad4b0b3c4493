"""Container images for a node without a registry: the pause image, and imports of archives.

There is no registry: what pods run is imported into containerd as archives. Who builds ours:
images/.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.machine import required_program

PAUSE_IMAGE = "registry.k8s.io/pause:3.10"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class ImageStore:
    """The images of one containerd, in the namespace that kubelet uses."""

    def __init__(self, socket: Path) -> None:
        self._ctr = ["--address", str(socket), "--namespace", "k8s.io"]

    def import_archive(self, archive: Path) -> bool:
        """Imports an OCI or Docker archive; returns False where all of it is there already.

        Raises ClusterError where the file is no image archive or containerd refuses it.
        """
        if not archive.is_file():
            raise ClusterError(f"There is no image archive {archive}")
        wanted = _named_digests(archive)
        if wanted and wanted.items() <= self.digests().items():
            return False
        self._run("images", "import", str(archive))
        return True

    def digests(self) -> dict[str, str]:
        """The digest of every image by its name."""
        lines = self._run("images", "list").splitlines()[1:]
        return {fields[0]: fields[2] for line in lines if len(fields := line.split()) > 2}

    def _run(self, *arguments: str) -> str:
        command = [required_program("ctr"), *self._ctr, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ClusterError(
                f"containerd refused `ctr {' '.join(arguments)}`: {result.stderr.strip()}"
            )
        return result.stdout


def _named_digests(archive: Path) -> dict[str, str]:
    """Image name → digest as an OCI archive's index says; empty for other archives."""
    try:
        with tarfile.open(archive) as tar:
            try:
                index = tar.extractfile("index.json")
            except KeyError:
                return {}
            assert index is not None
            manifests = json.load(index)["manifests"]
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise ClusterError(f"{archive} is not an image archive: {error}") from error
    found = {}
    for manifest in manifests:
        annotations = manifest.get("annotations", {})
        name = next((annotations[key] for key in _NAME_ANNOTATIONS if key in annotations), "")
        if name:
            found[name] = manifest["digest"]
    return found


def write_pause_archive(target: Path) -> None:
    """Writes an OCI archive of the pause image, the process that holds a pod's namespaces.

    It is Debian's static `catatonit -P`, which does nothing but wait and reap.
    """
    program = Path(required_program("catatonit")).read_bytes()
    write_archive(target, PAUSE_IMAGE, {"catatonit": program}, ["/catatonit", "-P"])


def write_archive(
    target: Path, name: str, programs: dict[str, bytes], entrypoint: list[str]
) -> None:
    """Writes an OCI archive of an image from scratch: `programs` (path → content), nothing else.

    The same content gives the same digest. Its user is 65535.
    """
    layer = _tar(programs, mode=0o755)
    config = _encode(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _encode(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [_descriptor(layer, "application/vnd.oci.image.layer.v1.tar")],
        }
    )
    described = _descriptor(manifest, "application/vnd.oci.image.manifest.v1+json")
    described["annotations"] = {_NAME_ANNOTATIONS[0]: name}
    files = {
        "oci-layout": _encode({"imageLayoutVersion": "1.0.0"}),
        "index.json": _encode({"schemaVersion": 2, "manifests": [described]}),
    }
    for blob in (layer, config, manifest):
        files[f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}"] = blob
    target.write_bytes(_tar(files, mode=0o644))


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            # No owner and no time: the same program gives the same digest.
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _encode(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}
