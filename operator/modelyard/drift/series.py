"""Values of many blocks, packed: immutable, small in memory and in JSON, bounded.

A baseline of 14 days has up to 4,000 blocks for each of 9 signals and 8 sources. As Python floats
that is 10 MB and more; packed float32 take a tenth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_BLOCKS = 4096
"""The newest ones are kept: 14 days of one block in five minutes."""
_VALUE = np.dtype("<f4")
_SUM = np.dtype("<f8")


@dataclass(frozen=True)
class Series:
    """Values of one signal in order, with their times."""

    hours: bytes = b""
    """Of each block's end, since the baseline began; float32."""
    packed: bytes = b""
    """Values, float32."""

    def __len__(self) -> int:
        return len(self.packed) // _VALUE.itemsize

    def append(self, hour: float, value: float) -> Series:
        """With one more, and without the oldest where there are too many."""
        keep = -(MAX_BLOCKS - 1) * _VALUE.itemsize
        return Series(
            self.hours[keep:] + np.array(hour, _VALUE).tobytes(),
            self.packed[keep:] + np.array(value, _VALUE).tobytes(),
        )

    def values(self) -> NDArray[np.float64]:
        """[n] values."""
        return np.frombuffer(self.packed, _VALUE).astype(np.float64)

    def times(self) -> NDArray[np.float64]:
        """[n] hours."""
        return np.frombuffer(self.hours, _VALUE).astype(np.float64)


def pack(vector: NDArray[np.float64]) -> bytes:
    """A vector as bytes."""
    return np.ascontiguousarray(vector, _SUM).tobytes()


def unpack(packed: bytes) -> NDArray[np.float64]:
    """The vector that `pack` was given."""
    return np.frombuffer(packed, _SUM)


def add(packed: bytes, vector: NDArray[np.float64]) -> bytes:
    """A sum of vectors with one more; empty bytes, or a vector of another length, start anew."""
    if len(packed) != vector.size * _SUM.itemsize:
        return pack(vector)
    return pack(unpack(packed) + vector)
