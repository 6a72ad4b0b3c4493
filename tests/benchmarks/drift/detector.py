"""A small detector of digits, trained here in seconds, so that scenes have real answers.

A scene of examples/digits has at most one digit in each of its four quarters. So a network that
tells which digit a quarter shows, if any, is a detector: scikit-learn's multilayer perceptron on
quarters of 16 × 16 grey pixels. Its hidden layer, averaged over the quarters, is the embedding.
YOLO networks are slower, not different in kind: they too are trained on the holdout's look, and
answer otherwise when that changes. It has never seen a nine.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import numpy as np
from sklearn.neural_network import MLPClassifier

from modelyard.drift.blocks import PLAIN
from modelyard.drift.signals import CLASSES, Signal
from modelyard.signals.embeddings import project
from modelyard.signals.images import image_figures

from ..report import ROOT

EMPTY = 10
"""Class of a quarter without a digit."""
UNKNOWN = 9
CONFIDENCE = 0.25


@dataclass(frozen=True)
class Figures:
    """Of many scenes, one row each."""

    plain: np.ndarray
    """[n, 7] in the order of blocks.PLAIN; NaN for none."""
    classes: np.ndarray
    """[n, 11]"""
    projections: np.ndarray
    """[n, 32]"""


@lru_cache(maxsize=1)
def scenes() -> ModuleType:
    """examples/digits/scenes.py, which is no package."""
    path = ROOT / "examples" / "digits" / "scenes.py"
    spec = importlib.util.spec_from_file_location("digit_scenes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def drawn(weights: np.ndarray, count: int, seed: tuple[int, ...]) -> list[np.ndarray]:
    """Scenes of validation digits, as RGB arrays, with these shares of classes."""
    module = scenes()
    digits = module.split_digits(0)[1]
    rng = np.random.default_rng((*seed, 1))
    share = weights[digits.labels] / np.bincount(digits.labels, minlength=10)[digits.labels]
    picked = rng.choice(len(digits.labels), 4000, p=share / share.sum())
    pool = module.Digits(digits.pixels[picked], digits.labels[picked])
    return [np.asarray(one.picture) for one in module.draw_scenes(pool, count, seed)]


def _quarters(pictures: list[np.ndarray]) -> np.ndarray:
    """[4 n, 256] grey quarters, 0 to 1."""
    grey = np.stack([one.astype(np.float32).mean(axis=2) for one in pictures]) / 255
    small = grey.reshape(len(grey), 32, 4, 32, 4).mean(axis=(2, 4))
    split = small.reshape(len(grey), 2, 16, 2, 16).transpose(0, 1, 3, 2, 4)
    return split.reshape(-1, 256)


def _labelled(half: int, count: int, seed: tuple[int, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    """Scenes without nines, of training (0) or validation digits (1), and what each quarter shows,
    [scenes, 4]."""
    module = scenes()
    digits = module.split_digits(0)[half]
    known = digits.labels != UNKNOWN
    pool = module.Digits(digits.pixels[known], digits.labels[known])
    made = module.draw_scenes(pool, count, seed)
    labels = np.full((count, 4), EMPTY)
    for row, one in zip(labels, made, strict=True):
        for line in one.label.splitlines():
            name, x, y, _, _ = line.split()
            row[2 * (float(y) > 0.5) + (float(x) > 0.5)] = int(name)
    return [np.asarray(one.picture) for one in made], labels


class Detector:
    """See the module."""

    def __init__(self, count: int, seed: int) -> None:
        pictures, labels = _labelled(0, count, (seed, 7))
        self._network = MLPClassifier((64,), random_state=seed, early_stopping=True)
        self._network.fit(_quarters(pictures), labels.ravel())

    def accuracy(self, count: int, seed: int) -> float:
        """Share of quarters told rightly on new scenes with digits that were not trained on."""
        pictures, labels = _labelled(1, count, (seed, 8))
        return float(np.mean(self._network.predict(_quarters(pictures)) == labels.ravel()))

    def figures(self, pictures: list[np.ndarray]) -> Figures:
        """What monitoring is told of each scene (RGB)."""
        inputs = _quarters(pictures)
        hidden = np.maximum(inputs @ self._network.coefs_[0] + self._network.intercepts_[0], 0)
        probability = self._network.predict_proba(inputs).reshape(len(pictures), 4, -1)
        names = self._network.classes_
        digits = probability[:, :, names != EMPTY]
        best, which = digits.max(axis=2), digits.argmax(axis=2)
        shown = best >= CONFIDENCE
        plain = np.full((len(pictures), len(PLAIN)), np.nan)
        top = np.clip(best.max(axis=1), 1e-6, 1 - 1e-6)
        plain[:, PLAIN.index(Signal.TOP_SCORE)] = np.log(top / (1 - top))
        plain[:, PLAIN.index(Signal.DETECTIONS)] = shown.sum(axis=1)
        for row, picture in zip(plain, pictures, strict=True):
            one = image_figures(np.ascontiguousarray(picture[:, :, ::-1]))
            row[PLAIN.index(Signal.BRIGHTNESS)] = one.brightness
            row[PLAIN.index(Signal.CONTRAST)] = one.contrast
            row[PLAIN.index(Signal.SHARPNESS)] = one.sharpness
            row[PLAIN.index(Signal.COLOURFULNESS)] = one.colourfulness
        classes = np.zeros((len(pictures), CLASSES), dtype=int)
        for quarter in range(4):
            np.add.at(
                classes, (np.flatnonzero(shown[:, quarter]), which[shown[:, quarter], quarter]), 1
            )
        pooled = hidden.reshape(len(pictures), 4, -1).mean(axis=1)
        return Figures(plain, classes, project(pooled))
