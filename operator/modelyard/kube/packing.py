"""Compressed JSON of many objects that are alike.

Objects of a kind differ in names, digests and moments, so each is kept as what differs from a few
others of its kind: deflate with these as preset dictionary. Of an object of 1 kB that makes 100
bytes, and takes about 10 µs to pack and 3 µs to unpack.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import NamedTuple

WINDOW = 14
"""Bits: deflate looks 16 KiB back."""
EFFORT = 7
"""zlib's memLevel: a state of 64 KiB more."""
SAMPLES = 4
"""Objects in a dictionary."""
LONGEST = 12_000
"""Bytes of a dictionary: the object itself must fit the window too."""
GROWTH = 16
"""A kind gets another dictionary when so many times as many objects have been seen: the first ones
were new, and say little of what comes later."""


class Dictionary:
    """What objects of a kind have in common, at some time."""

    def __init__(self, samples: bytes) -> None:
        self._packer: zlib._Compress | None = zlib.compressobj(
            1, zlib.DEFLATED, -WINDOW, EFFORT, zlib.Z_DEFAULT_STRATEGY, samples
        )
        self._unpacker = zlib.decompressobj(-WINDOW, zdict=samples)

    def pack(self, data: bytes) -> bytes:
        """The compressed form of an object; not after `retire`."""
        assert self._packer is not None
        packer = self._packer.copy()
        return packer.compress(data) + packer.flush()

    def unpack(self, data: bytes) -> bytes:
        """The object of a compressed form that this dictionary has made."""
        return self._unpacker.copy().decompress(data)

    def retire(self) -> None:
        """Only unpack from now on."""
        self._packer = None


class Packed(NamedTuple):
    """An object as it is kept."""

    data: bytes
    dictionary: Dictionary | None
    """None for the first few of a kind, which are kept as they are."""

    def unpacked(self) -> bytes:
        """The object as it was."""
        return self.data if self.dictionary is None else self.dictionary.unpack(self.data)


class Packing:
    """Packs the objects of one kind."""

    def __init__(self) -> None:
        self._latest: deque[bytes] = deque(maxlen=SAMPLES)
        self._dictionary: Dictionary | None = None
        self._seen = 0
        self._renew_at = SAMPLES

    def pack(self, data: bytes) -> Packed:
        """The form of an object to keep."""
        self._seen += 1
        if self._seen + SAMPLES > self._renew_at:
            self._latest.append(data)
            if self._seen >= self._renew_at:
                self._renew()
        if self._dictionary is None:
            return Packed(bytes(memoryview(data)), None)
        return Packed(self._dictionary.pack(data), self._dictionary)

    def _renew(self) -> None:
        if self._dictionary is not None:
            self._dictionary.retire()
        size = LONGEST // len(self._latest)
        # deflate finds what comes last the cheapest.
        self._dictionary = Dictionary(b"".join(sample[:size] for sample in self._latest))
        self._latest.clear()
        self._renew_at *= GROWTH
