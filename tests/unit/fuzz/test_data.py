"""Datasets of strangers: label files, data.yaml, archives and images. Whatever they hold, the error
is one that a user can read, and the cost is bounded."""

from __future__ import annotations

import io
import os
import resource
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modelyard.serving.models import decode as pipeline
from modelyard.serving.models import size
from modelyard.workloads.data.check import _check_image, read_labels
from modelyard.workloads.data.datafile import read_data_file
from modelyard.workloads.data.errors import DatasetError
from modelyard.workloads.data.limits import MIB, Limits
from modelyard.workloads.data.unpack import unpack

from .harness import Target, chance, damaged, fuzz

LABELS = Target("label files", memory=16 * MIB)
DATA_FILES = Target("data.yaml", memory=48 * MIB)
ARCHIVES = Target("archives", memory=48 * MIB)
IMAGES = Target("images", memory=48 * MIB)

NUMBERS = (b"nan", b"-inf", b"1e999", b"1e-999", b"0x1", b"1_0", b"9" * 400, b"-0", b"1.0000001")


def short(error: Exception) -> None:
    """What a user reads is a message, not the input."""
    assert len(str(error)) < 2000, error


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """In memory where that is possible: a hundred thousand files are written."""
    shm = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    yield made
    shutil.rmtree(made)


rows = st.lists(
    st.tuples(st.integers(-1, 90), *[st.floats(-0.1, 1.1)] * 4).map(
        lambda row: " ".join(map(str, row))
    ),
    max_size=12,
)


@fuzz
@given(lines=rows, random=chance)
def test_label_files(folder: Path, lines: list[str], random: Random) -> None:
    path = folder / "labels.txt"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        boxes, problems = read_labels(path, 80)
        for number, *place in boxes:
            assert 0 <= number < 80
            assert all(-0.01 <= value <= 1.01 for value in place)
        assert all(len(one) < 400 for one in problems)

    words = (*NUMBERS, b"\n", b" ", b"\xef\xbb\xbf", "\u2028".encode(), b"\x1c", b"\0")
    LABELS.feed(damaged("\n".join(lines).encode(), random, words), parse)


YAML_WORDS = (
    b"&a ", b"*a", b"<<: ", b"[", b"]", b"{", b"}", b"!!int ", b"!!float ", b"!!timestamp ",
    b"!!binary ", b"!!set ", b"!!omap ", b"!!python/object:os.system ", b"---\n", b"? ", b": ",
    b"- ", b"|\n", b"%YAML 9.9\n", b"2001-99-99", b"1:60:60", b".inf", b".nan", b"~", b"0x",
    b"../../etc", b'"\\ud800"', b'"\\0"', b"9" * 5000, b"a" * 300, b"[*a,*a,*a,*a,*a,*a,*a,*a]",
)  # fmt: skip
names = st.one_of(
    st.lists(st.sampled_from(["cat", "dog", "0", "yes", "null", "1.5", "'a b'", "!"]), max_size=5),
    st.dictionaries(st.integers(-1, 4), st.sampled_from(["cat", "dog"]), max_size=5),
)
documents = st.fixed_dictionaries(
    {"names": names, "train": st.sampled_from(["images/train", "a.txt", "[a, b]", ".."])},
    optional={
        "val": st.sampled_from(["images/val", "", "&a [x, y]", "~"]),
        "test": st.just("*a"),
        "path": st.sampled_from([".", "..", "/etc", "sub", "''"]),
        "nc": st.integers(-1, 10**6),
    },
)


@fuzz
@given(document=documents, random=chance)
def test_data_yaml(folder: Path, document: dict[str, object], random: Random) -> None:
    text = "\n".join(f"{key}: {value}" for key, value in document.items())
    path = folder / "data.yaml"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        try:
            found = read_data_file(folder, "data.yaml")
        except DatasetError as error:
            short(error)
        else:
            assert found.base.is_relative_to(folder)

    DATA_FILES.feed(damaged(text.encode(), random, YAML_WORDS), parse)


member_names = st.sampled_from(
    ["a", "a/b", "a/b/c", "../x", "/x", "a/../../x", ".", "", "b\\c", "C:/x", "link", "link/x",
     "link/deep/x", "a" * 300, "a\0b", "\u202e", "data.yaml"]
)  # fmt: skip
targets = st.sampled_from(["a", "..", "../..", "/tmp", "link", ".", "a/b", "x" * 5000, ""])
members = st.lists(
    st.tuples(member_names, st.sampled_from(["file", "link", "hard", "folder", "pipe"]), targets),
    max_size=6,
)


def packed(entries: list[tuple[str, str, str]], form: str) -> bytes:
    """A zip, or a tar of a form such as `gz`."""
    file = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, kind, target in entries:
                info = zipfile.ZipInfo(name + ("/" if kind == "folder" else ""))
                link = kind in ("link", "hard")
                info.external_attr = (stat.S_IFLNK if link else stat.S_IFREG) << 16
                archive.writestr(info, target if link else bytes(1000))
        return file.getvalue()
    types = {"file": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE,
             "folder": tarfile.DIRTYPE, "pipe": tarfile.FIFOTYPE}  # fmt: skip
    with tarfile.open(fileobj=file, mode=f"w:{form}") as tar:
        for name, kind, target in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = types[kind], target
            info.size = 1000 if kind == "file" else 0
            tar.addfile(info, io.BytesIO(bytes(1000)))
    return file.getvalue()


@fuzz
@given(entries=members, form=st.sampled_from(["zip", "", "gz", "bz2", "xz"]), random=chance)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives(
    folder: Path, entries: list[tuple[str, str, str]], form: str, random: Random
) -> None:
    limits = Limits(unpacked_bytes=8 * MIB, files=1000)
    around = folder / "around"

    def parse(data: bytes) -> None:
        shutil.rmtree(around, ignore_errors=True)
        around.mkdir()
        archive, out = around / "archive", around / "deep" / "out"
        archive.write_bytes(data)
        try:
            unpack(archive, out, limits)
        except DatasetError as error:
            short(error)
        assert sorted(os.listdir(around)) == ["archive", "deep"]
        assert os.listdir(around / "deep") == ["out"]
        for link in (one for one in out.rglob("*") if one.is_symlink()):
            assert os.path.realpath(link).startswith(str(out))

    words = (b"../", b"/etc/", b"\0", b"PK\x01\x02", b"PK\x05\x06", b"ustar", b"\xff\xff\xff\xff")
    ARCHIVES.feed(damaged(packed(entries, form), random, words), parse)


def picture(form: tuple[str, str], width: int, height: int, colour: int) -> bytes:
    file = io.BytesIO()
    Image.new(form[1], (width, height), colour).save(file, form[0])
    return file.getvalue()


forms = st.sampled_from([
    ("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "P"), ("PNG", "RGBA"), ("WEBP", "RGB"),
    ("BMP", "RGB"), ("BMP", "1"), ("GIF", "P"), ("TIFF", "RGB"), ("PPM", "RGB"),
])  # fmt: skip


@fuzz
@given(
    form=forms, width=st.integers(1, 64), height=st.integers(1, 64), colour=st.integers(0, 255),
    random=chance,
)  # fmt: skip
def test_images(
    folder: Path, form: tuple[str, str], width: int, height: int, colour: int, random: Random
) -> None:
    most = 1_000_000
    path = folder / "image"

    def parse(data: bytes) -> None:
        try:
            decoded = pipeline.decode(data, most)
        except pipeline.ImageError as error:
            short(error)
        else:
            assert decoded.shape[0] * decoded.shape[1] <= most
            if pipeline.image_format(data):
                assert sorted(size.image_size(data) or ()) == sorted(decoded.shape[:2])
        path.write_bytes(data)
        _, what = _check_image(path, most)
        assert what is None or len(what) < 400

    words = (b"\xff\xff", b"\xff\xc0", b"\xff\xda", b"IHDR", b"IDAT", b"VP8X", b"VP8L", b"Exif\0\0")
    IMAGES.feed(damaged(picture(form, width, height, colour), random, words), parse)
    # OpenCV's and Pillow's own memory is not traced: a decoded image of `most` pixels, with copies.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert peak < 1024, f"{peak} MiB"
