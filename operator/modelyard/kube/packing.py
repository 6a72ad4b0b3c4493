"""Compression of many similar JSON objects, for the cache.

Objects of one kind differ in names, digests and times only, so each is compressed with deflate and
a preset dictionary made of a few other objects of its kind. An object of 1 kB takes 100 bytes,
about 10 µs to pack and 3 µs to unpack.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import NamedTuple

WINDOW_BITS = 14
"""zlib's wbits: a window of 16 KiB."""
MEM_LEVEL = 7
"""zlib's memLevel: 64 KiB of additional state."""
SAMPLES = 4
"""Objects in a dictionary."""
DICTIONARY_BYTES = 12_000
"""Maximum size of a dictionary: the object itself must fit into the window too."""
GROWTH = 16
"""Factor by which the number of packed objects grows between two dictionaries of a kind: the first
objects were just created and differ from later ones."""


class Dictionary:
    """A preset dictionary: sample objects of a kind."""

    def __init__(self, samples: bytes) -> None:
        self._packer: zlib._Compress | None = zlib.compressobj(
            1, zlib.DEFLATED, -WINDOW_BITS, MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY, samples
        )
        self._unpacker = zlib.decompressobj(-WINDOW_BITS, zdict=samples)

    def pack(self, data: bytes) -> bytes:
        """Compress an object; not allowed after `retire`."""
        assert self._packer is not None
        packer = self._packer.copy()
        return packer.compress(data) + packer.flush()

    def unpack(self, data: bytes) -> bytes:
        """Decompress data that this dictionary compressed."""
        return self._unpacker.copy().decompress(data)

    def retire(self) -> None:
        """Free the compressor; only `unpack` works from now on."""
        self._packer = None


class Packed(NamedTuple):
    """A compressed object."""

    data: bytes
    dictionary: Dictionary | None
    """None for the first few objects of a kind, which are not compressed."""

    def unpacked(self) -> bytes:
        """The decompressed object."""
        return self.data if self.dictionary is None else self.dictionary.unpack(self.data)


class Packing:
    """Compresses the objects of one kind."""

    def __init__(self) -> None:
        self._latest: deque[bytes] = deque(maxlen=SAMPLES)
        self._dictionary: Dictionary | None = None
        self._count = 0
        self._replace_at = SAMPLES

    def pack(self, data: bytes) -> Packed:
        """Compress an object."""
        self._count += 1
        if self._count + SAMPLES > self._replace_at:
            self._latest.append(data)
            if self._count >= self._replace_at:
                self._replace_dictionary()
        if self._dictionary is None:
            return Packed(bytes(memoryview(data)), None)
        return Packed(self._dictionary.pack(data), self._dictionary)

    def _replace_dictionary(self) -> None:
        if self._dictionary is not None:
            self._dictionary.retire()
        size = DICTIONARY_BYTES // len(self._latest)
        # deflate encodes matches near the end of the dictionary in the fewest bits.
        self._dictionary = Dictionary(b"".join(sample[:size] for sample in self._latest))
        self._latest.clear()
        self._replace_at *= GROWTH
