"""What an image's own fields say about its size is not believed."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

from modelyard.serving.warmup import grey_png
from modelyard.workloads.data.check import _check_image


def test_a_chunk_that_says_it_has_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    data = bytearray(grey_png(8, 8))
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 0xA0BAFE16)
    (tmp_path / "a.png").write_bytes(data)
    tracemalloc.start()
    _check_image(tmp_path / "a.png", 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
