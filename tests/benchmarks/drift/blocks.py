"""Block means of correlated images, drawn without drawing the images.

Images of a stream are AR(1): x(t) = rho · x(t - 1) + noise, with variance 1. The mean of a block of
n images and the last image of it are jointly normal given the last image before it, so blocks are
drawn exactly, for many streams at once and with n of each stream's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Law:
    """Of blocks, each array with one value per stream."""

    end: np.ndarray
    """Weight of the last image before the block in its last image, rho ** n."""
    mean: np.ndarray
    """The same in its mean."""
    end_sd: np.ndarray
    mean_on_end: np.ndarray
    """Loading of the mean on the noise of the last image."""
    mean_sd: np.ndarray


def law(rho: float, images: np.ndarray) -> Law:
    """How blocks of so many images follow each other."""
    found = {int(n): _of(rho, int(n)) for n in np.unique(images)}
    return Law(*np.array([found[int(n)] for n in images]).T)


def _of(rho: float, n: int) -> tuple[float, ...]:
    if rho == 0:
        # The last image is not needed again: it may be drawn independently of the mean.
        return 0.0, 0.0, 1.0, 0.0, 1 / np.sqrt(n)
    after = np.arange(n - 1, -1, -1)
    to_end = rho**after
    to_mean = (1 - rho ** (after + 1)) / (1 - rho) / n
    noise = 1 - rho**2
    end_sd = np.sqrt(noise * to_end @ to_end)
    on_end = noise * (to_end @ to_mean) / end_sd
    rest = np.sqrt(max(noise * to_mean @ to_mean - on_end**2, 0.0))
    return rho**n, rho * (1 - rho**n) / (1 - rho) / n, end_sd, on_end, rest


def draw(rng: np.random.Generator, rho: float, images: np.ndarray, blocks: int) -> np.ndarray:
    """[blocks, streams] means of consecutive blocks; `images` is a block's length by stream."""
    one, streams = law(rho, images), len(images)
    means = np.empty((blocks, streams))
    last = rng.standard_normal(streams)
    for begin in range(0, blocks, 256):
        count = min(256, blocks - begin)
        first, second = rng.standard_normal((2, count, streams))
        for i in range(count):
            means[begin + i] = (
                one.mean * last + one.mean_on_end * first[i] + one.mean_sd * second[i]
            )
            last = one.end * last + one.end_sd * first[i]
    return means


def images(rng: np.random.Generator, rho: float, count: int, streams: int) -> np.ndarray:
    """[count, streams] single images."""
    noise = rng.standard_normal((count, streams))
    if rho == 0:
        return noise
    noise[1:] *= np.sqrt(1 - rho**2)
    for i in range(1, count):
        noise[i] += rho * noise[i - 1]
    return noise
