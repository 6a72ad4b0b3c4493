"""Images are measured by their header, and refused before they take the server's memory."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelyard.serving.models import decode as step
from modelyard.serving.models import size

GIB = 2**30
MIB = 2**20


def encoded(width: int, height: int, kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind, **options)
    return file.getvalue()


FORMS = {
    "JPEG": {"kind": "JPEG"},
    "progressive JPEG": {"kind": "JPEG", "progressive": True, "subsampling": 0},
    "grey JPEG": {"kind": "JPEG", "mode": "L"},
    "PNG": {"kind": "PNG"},
    "16-bit PNG": {"kind": "PNG", "mode": "I;16"},
    "transparent PNG": {"kind": "PNG", "mode": "RGBA"},
    "WebP": {"kind": "WEBP"},
    "lossless WebP": {"kind": "WEBP", "lossless": True},
    "transparent WebP": {"kind": "WEBP", "mode": "RGBA"},
    "WebP with EXIF": {"kind": "WEBP", "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"},
    "BMP": {"kind": "BMP"},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (640, 480), (301, 1999)])
def test_the_header_tells_what_decoding_gives(form: dict, width: int, height: int) -> None:
    data = encoded(width, height, **form)
    assert size.image_size(data) == (width, height)
    assert step.decode(data).shape == (height, width, 3)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_header_that_is_cut_off_has_no_size(form: dict) -> None:
    data = encoded(64, 64, **form)
    for end in range(len(data)):
        assert size.image_size(data[:end]) in (None, (64, 64))
    assert size.image_size(data[:16]) is None


def test_the_limit_follows_the_memory_and_those_who_share_it() -> None:
    assert size.max_pixels(64 * GIB, 1) == size.MAX_PIXELS
    assert size.max_pixels(GIB, 1) == GIB // 24
    assert size.max_pixels(4 * GIB, 4) == size.max_pixels(GIB, 1)
    assert size.max_pixels(64 * MIB, 1) == size.ALWAYS_PIXELS


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"sys/fs/cgroup/memory.max": "1073741824\n"}, GIB),
        ({"sys/fs/cgroup/memory.max": "max\n"}, 8 * GIB),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8 * GIB),
        ({}, 8 * GIB),
    ],
    ids=["limit", "no limit", "no limit in cgroup v1", "no cgroup"],
)
def test_memory_is_the_containers(tmp_path: Path, files: dict[str, str], wanted: int) -> None:
    for name, text in {"proc/meminfo": "MemTotal:        8388608 kB\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert size.memory_bytes(tmp_path) == wanted


def test_a_small_file_of_many_pixels_takes_no_memory() -> None:
    # 10 kB that would take 570 MB; in a process of its own, whose peak is its alone.
    code = (
        "import io, resource, sys; from modelyard.serving.models import decode\n"
        "data = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: decode.decode(data, 20_000_000)\n"
        "except decode.ImageError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    data = encoded(9_990, 9_990, "PNG", "1")
    assert len(data) < 20_000
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    said, grown = done.stdout.decode().splitlines()
    assert "9990x9990 pixels, more than the 20.0 megapixels" in said
    assert int(grown) < 10 * 1024


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_decoding_takes_no_more_than_is_reckoned_with(form: dict) -> None:
    data = encoded(4_000, 2_000, **form)

    def child() -> str:
        return (
            "import resource, sys; from modelyard.serving.models import decode\n"
            "data = sys.stdin.buffer.read(); decode.cv2.setNumThreads(1)\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "decode.decode(data)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
        )

    done = subprocess.run(
        [sys.executable, "-c", child()], input=data, capture_output=True, check=True
    )
    per_pixel = int(done.stdout) * 1024 / 8_000_000
    assert per_pixel < size.BYTES_PER_PIXEL


def test_an_image_without_a_size_is_refused_by_the_name_of_its_format() -> None:
    with pytest.raises(step.ImageError, match="starts like a WebP file"):
        step.decode(b"RIFF\0\0\0\0WEBPXXXX" + bytes(100))
    assert np.asarray(step.decode(encoded(5, 5, "BMP"))).max() == 0
