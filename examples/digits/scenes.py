"""Draws scenes of real handwritten digits and packs them as a YOLO dataset.

    python examples/digits/scenes.py --out digits.zip

The digits are scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set:
1,797 digits of 8x8 pixels, written by 13 people (https://doi.org/10.24432/C50P49, CC BY 4.0).
A scene has one to four of them, drawn in light inks on dark grounds. No digit of a validation
scene is in a training scene. Equal arguments give equal bytes, with the same Pillow and NumPy.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZE = 128
"""Width and height of a scene in pixels."""
CELL = SIZE // 2
SMALLEST, LARGEST = 38, 60
"""Width and height of a digit's square in pixels; it lies within one quarter of the scene."""
COUNTS, COUNT_WEIGHTS = (1, 2, 3, 4), (0.1, 0.2, 0.3, 0.4)
"""Digits in a scene: mostly many, since each is one more example to learn from."""
VAL_SHARE = 0.2
"""Share of the digits that only validation scenes show."""
INK = 0.3
"""Opacity from which a pixel counts as part of the digit, for its box."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""


@dataclass(frozen=True)
class Digits:
    """Digits to draw from."""

    pixels: np.ndarray
    """(n, 8, 8) float, 0 to 16."""
    labels: np.ndarray
    """(n,) int, 0 to 9."""


@dataclass(frozen=True)
class Scene:
    """A picture and its YOLO label."""

    picture: Image.Image
    label: str


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="zip archive to write")
    parser.add_argument("--train", type=_positive, default=800, help="scenes to train on")
    parser.add_argument("--val", type=_positive, default=100, help="scenes to validate on")
    parser.add_argument("--seed", type=int, default=0, help="other numbers give other scenes")
    options = parser.parse_args()
    train, val = split_digits(options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_archive(
        options.out,
        {
            "train": draw_scenes(train, options.train, (options.seed, 1)),
            "val": draw_scenes(val, options.val, (options.seed, 2)),
        },
    )
    print(f"{options.out}: {options.train} train and {options.val} val scenes, {SIZE}x{SIZE} px")


def split_digits(seed: int) -> tuple[Digits, Digits]:
    """Digits for training scenes and for validation scenes; no digit is in both."""
    found = load_digits()
    order = np.random.default_rng((seed, 0)).permutation(len(found.target))
    cut = round(len(order) * (1 - VAL_SHARE))
    train, val = (Digits(found.images[part], found.target[part]) for part in np.split(order, [cut]))
    return train, val


def draw_scenes(digits: Digits, count: int, seed: tuple[int, ...]) -> list[Scene]:
    """That many scenes; scene i is the same whatever `count` is."""
    return [draw_scene(digits, np.random.default_rng((*seed, i))) for i in range(count)]


def draw_scene(digits: Digits, rng: np.random.Generator) -> Scene:
    """One scene: a ground that shades from one dark colour to another, and digits in some of the
    four quarters."""
    scene = _ground(rng)
    lines = []
    for quarter in rng.permutation(4)[: rng.choice(COUNTS, p=COUNT_WEIGHTS)]:
        chosen = int(rng.integers(len(digits.labels)))
        side = int(rng.integers(SMALLEST, LARGEST + 1))
        opacity = _enlarge(digits.pixels[chosen], side)
        left, top = (int(n) for n in rng.integers(0, CELL - side + 1, 2))
        left, top = left + CELL * int(quarter % 2), top + CELL * int(quarter // 2)
        ink = rng.uniform(150, 255, 3)
        ink[rng.integers(3)] = 255
        patch = scene[top : top + side, left : left + side]
        patch += (ink - patch) * opacity[..., None]
        lines.append(_label(int(digits.labels[chosen]), opacity, left, top))
    scene += rng.normal(0, 3, scene.shape)
    picture = Image.fromarray(scene.clip(0, 255).astype(np.uint8))
    return Scene(picture, "".join(lines))


def write_archive(path: Path, splits: dict[str, list[Scene]]) -> None:
    """The dataset as a zip in YOLO layout."""
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES))
    folders = "".join(f"{split}: images/{split}\n" for split in splits)
    with zipfile.ZipFile(path, "w") as archive:
        _add(archive, "data.yaml", f"{folders}names:\n{names}".encode())
        for split, scenes in splits.items():
            for i, scene in enumerate(scenes):
                picture = io.BytesIO()
                scene.picture.save(picture, "JPEG", quality=92)
                _add(archive, f"images/{split}/{i:05}.jpg", picture.getvalue())
                _add(archive, f"labels/{split}/{i:05}.txt", scene.label.encode())


def _ground(rng: np.random.Generator) -> np.ndarray:
    """(SIZE, SIZE, 3) float: one dark colour shading into another in a random direction."""
    first, second = rng.uniform(0, 90, (2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-0.5, 0.5, SIZE)
    along = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]
    share = (along - along.min()) / (along.max() - along.min())
    return first + (second - first) * share[..., None]


def _enlarge(pixels: np.ndarray, side: int) -> np.ndarray:
    """(side, side) float, 0 to 1: a digit as opacity of the ink."""
    small = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), dtype=float) / 255


def _label(digit: int, opacity: np.ndarray, left: int, top: int) -> str:
    """A YOLO line: class, centre x, centre y, width, height as fractions of the scene."""
    rows, columns = (np.flatnonzero((opacity > INK).any(axis=axis)) for axis in (1, 0))
    x1, x2 = left + columns[0], left + columns[-1] + 1
    y1, y2 = top + rows[0], top + rows[-1] + 1
    box = np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]) / SIZE
    return f"{digit} {' '.join(f'{value:.6f}' for value in box)}\n"


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


if __name__ == "__main__":
    main()
