"""Boxes in images."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from modelyard.cli.draw import class_color, draw, save
from modelyard.cli.errors import CliError
from modelyard.cli.inference import Detection


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(stream, "PNG")
    return stream.getvalue()


def test_a_box_is_drawn_where_it_is() -> None:
    picture = draw(png(800, 600), [Detection(100, 200, 300, 400, 0.9, 2, "cat")])
    assert picture.size == (800, 600)
    for corner in ((100, 200), (300, 400), (100, 400), (300, 200)):
        assert picture.getpixel(corner) == class_color(2)
    assert picture.getpixel((200, 300)) == (255, 255, 255)


def test_a_small_image_is_enlarged_with_its_boxes() -> None:
    picture = draw(png(128, 64), [Detection(10, 20, 50, 60, 0.5, 0, "1")])
    assert picture.size == (512, 256)
    assert picture.getpixel((40, 240)) == class_color(0)


def test_boxes_at_and_over_the_edges() -> None:
    boxes = [
        Detection(-5, -5, 900, 700, 1.0, 1, "all of it"),
        Detection(0, 0, 5, 5, 0.3, 3, "corner"),
    ]
    assert draw(png(800, 600), boxes).size == (800, 600)


def test_an_image_on_its_side_is_turned_as_the_server_turns_it() -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: rotate by 90 degrees to view.
    Image.new("RGB", (800, 600), "white").save(stream, "JPEG", exif=exif)
    assert draw(stream.getvalue(), []).size == (600, 800)


def test_bytes_that_are_no_image() -> None:
    with pytest.raises(CliError, match="cannot be read"):
        draw(b"hello", [])


def test_saving(tmp_path: Path) -> None:
    picture = draw(png(600, 600), [])
    save(picture, tmp_path / "new/boxes.png")
    assert Image.open(tmp_path / "new/boxes.png").size == (600, 600)
    with pytest.raises(CliError, match="end the name in"):
        save(picture, tmp_path / "boxes.xyz")


def test_classes_have_colours_of_their_own() -> None:
    assert len({class_color(i) for i in range(80)}) == 80
