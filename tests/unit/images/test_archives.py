"""An archive is trusted only after it was read."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from image_builder.archives import prune, read
from image_builder.errors import ImageError

TAG = "docker.io/modelyard/operator:1-abc"
CONFIG = json.dumps({"config": {"User": "65532:65532"}}).encode()
MANIFEST = json.dumps(
    {"config": {"digest": "sha256:c0"}, "layers": [{"digest": "sha256:1a"}]}
).encode()
INDEX = json.dumps(
    {
        "manifests": [
            {
                "digest": "sha256:3e",
                "annotations": {"org.opencontainers.image.ref.name": TAG},
            }
        ]
    }
).encode()
OCI = {
    "index.json": INDEX,
    "blobs/sha256/3e": MANIFEST,
    "blobs/sha256/c0": CONFIG,
    "blobs/sha256/1a": b"layer",
}
DOCKER = {
    "manifest.json": json.dumps(
        [
            {
                "Config": "c0.json",
                "RepoTags": ["modelyard/operator:1-abc"],
                "Layers": ["1a/layer.tar"],
            }
        ]
    ).encode(),
    "c0.json": CONFIG,
    "1a/layer.tar": b"layer",
}


def _archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("members", [OCI, DOCKER], ids=["oci", "docker"])
def test_name_digest_and_user_are_read(tmp_path: Path, members: dict[str, bytes]) -> None:
    found = read(_archive(tmp_path / "image.tar", members))
    assert found.named(TAG)
    assert not found.named(TAG + "0")
    assert (found.digest, found.user, found.size) == ("sha256:c0", "65532:65532", 5)


@pytest.mark.parametrize(
    "missing", ["blobs/sha256/1a", "blobs/sha256/3e", "blobs/sha256/c0", "index.json"]
)
def test_an_incomplete_archive_is_refused(tmp_path: Path, missing: str) -> None:
    members = {name: content for name, content in OCI.items() if name != missing}
    with pytest.raises(ImageError, match="not a whole image archive"):
        read(_archive(tmp_path / "image.tar", members))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path / "image.tar", OCI)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ImageError, match="delete it and build again"):
        read(path)


def test_old_archives_go_and_everything_else_stays(tmp_path: Path) -> None:
    names = [f"trainer-0.1.0-{digit * 10}.tar" for digit in "abcd"]
    others = ["trainer-gpu-0.1.0-aaaaaaaaaa.tar", "trainer-notes.tar", "data.tar"]
    running = f"trainer-0.1.0-{'e' * 10}.{os.getpid()}.partial"
    for age, name in enumerate([*names, *others, running, f"trainer-0.1.0-{'f' * 10}.0.partial"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))
    prune(tmp_path, "trainer")
    assert {path.name for path in tmp_path.iterdir()} == {*names[2:], *others, running}
