"""The pipeline's first step, outside Triton."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from modelyard.serving.models import decode as step
from modelyard.serving.models import letterbox as fitting
from modelyard.serving.models.orientation import orientation
from modelyard.serving.warmup import grey_png


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.mark.parametrize(
    ("suffix", "name"), [(".jpg", "JPEG"), (".png", "PNG"), (".webp", "WebP"), (".bmp", "BMP")]
)
def test_formats_are_told_by_their_content(suffix, name):
    data = encode(picture(20, 30), suffix)

    assert step.image_format(data) == name
    assert step.decode(data).shape == (20, 30, 3)


def test_png_comes_out_bit_for_bit_also_from_base64():
    image = picture(7, 9)
    data = encode(image)
    text = base64.b64encode(data)

    for form in (data, text, b"data:image/png;base64," + text, base64.encodebytes(data)):
        assert np.array_equal(step.decode(form), image)


def turned(value: int, kind: str) -> bytes:
    """A picture without symmetry, with an EXIF orientation."""
    image = np.zeros((20, 30, 3), np.uint8)
    image[:8, :8], image[:8, -8:] = 255, (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = value
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(image).save(file, kind, exif=exif, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("value", range(1, 9))
def test_every_orientation_of_every_format_is_as_people_see_it(kind, value):
    """Pillow is the other implementation of the EXIF standard here."""
    data = turned(value, kind)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")

    difference = step.decode(data).astype(int) - np.asarray(upright)[:, :, ::-1]

    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_data_turns_nothing_and_harms_nothing(kind):
    data = turned(6, kind)
    at = data.index(b"MM\0*") if b"MM\0*" in data else data.index(b"II*\0")
    rng = np.random.default_rng(3)
    exif = data[at : at + 30]
    for _ in range(200):
        damaged = bytearray(exif)
        damaged[int(rng.integers(2, len(exif)))] = int(rng.integers(256))
        assert orientation(data[:at] + damaged + data[at + len(exif) :]) in range(1, 9)
    for end in range(len(data)):
        assert orientation(data[:end]) in range(1, 9)


@pytest.mark.parametrize(("orientation", "shape"), [(1, (20, 30)), (6, (30, 20)), (3, (20, 30))])
def test_exif_orientation_is_respected(orientation, shape):
    image = np.zeros((20, 30, 3), np.uint8)
    image[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", exif=exif, quality=95)

    decoded = step.decode(file.getvalue())

    assert decoded.shape[:2] == shape
    corner = {1: (2, 2), 6: (2, 17), 3: (17, 27)}[orientation]
    assert decoded[corner].min() > 200


def test_grey_and_transparent_images_become_three_channels():
    assert step.decode(encode(np.full((5, 5), 9, np.uint8))).shape == (5, 5, 3)
    assert step.decode(encode(np.full((5, 5, 4), 9, np.uint8))).shape == (5, 5, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "IMAGE is empty"),
        (b"GIF89a" + bytes(20), r"26 bytes that start with 47 49 46.* is not a JPEG"),
        (b"hello", "nor base64 text"),
        (base64.b64encode(b"GIF89a" + bytes(20)), "is not a JPEG"),
        (encode(picture(50, 50))[:60], "starts like a PNG file .60 bytes. but cannot be decoded"),
        (b"\xff\xd8\xff" + bytes(100), "starts like a JPEG file"),
    ],
)
def test_what_is_no_image_is_named(data, message):
    with pytest.raises(step.ImageError, match=message):
        step.decode(data)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path):
    bomb = bytearray(grey_png(8, 8))
    # 20,000 x 20,000 pixels by the header, whose checksum is made to fit.
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb[12:33] = header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(bomb)
    # In a process of its own, as in Triton: OpenCV reads its limit when it is first imported.
    code = (
        "import pathlib; from modelyard.serving.models import decode\n"
        "decode.decode(pathlib.Path('bomb.png').read_bytes())"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "ImageError: IMAGE is a PNG file of 20000x20000 pixels, more than" in done.stderr


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns", "top", "left"),
    [
        (64, 64, 64, 64, 0, 0),
        (128, 64, 64, 32, 0, 16),
        (32, 32, 64, 64, 0, 0),
        (100, 333, 19, 64, 22, 0),
        (3, 3000, 1, 64, 31, 0),
    ],
)
def test_letterbox_scales_to_fit_and_centres(height, width, rows, columns, top, left):
    image = np.full((height, width, 3), 200, np.uint8)

    boxed = fitting.letterbox(image, 64, 64)

    inside = np.argwhere((boxed == 200).all(axis=2))
    assert boxed.shape == (64, 64, 3)
    assert inside.min(axis=0).tolist() == [top, left]
    assert (np.ptp(inside, axis=0) + 1).tolist() == [rows, columns]
    assert boxed[0, 0].tolist() == [114] * 3 or (top == 0 and left == 0)


def test_letterbox_to_a_rectangle():
    boxed = fitting.letterbox(np.zeros((100, 100, 3), np.uint8), 64, 128)

    assert boxed.shape == (64, 128, 3)
    assert (boxed[:, 32:96] == 0).all()
    assert (boxed[:, :32] == 114).all()


def test_tensor_is_rgb_planes_from_0_to_1():
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0] = 255  # blue in BGR

    tensor = fitting.to_tensor(image, np.float32)

    assert tensor.shape == (1, 3, 2, 3)
    assert tensor.dtype == np.float32
    assert tensor[0, 2].min() == 1
    assert tensor[0, :2].max() == 0
    assert fitting.to_tensor(image, np.float16).dtype == np.float16


@given(
    sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=2, max_size=4),
    half=st.booleans(),
)
def test_a_canvas_is_the_tensor_of_the_letterboxed_image(
    sizes: list[tuple[int, int]], half: bool
) -> None:
    dtype = np.float16 if half else np.float32
    canvas = fitting.Canvas(48, 64, dtype)
    for number, (height, width) in enumerate(sizes):
        random = np.random.default_rng(number)
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)

        canvas.draw(image)

        wanted = fitting.to_tensor(fitting.letterbox(image, 48, 64), dtype)
        assert np.array_equal(canvas.tensor, wanted)
