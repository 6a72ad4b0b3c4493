"""What the activator leaves out of what a waiting gRPC client says."""

from __future__ import annotations

import pytest

from modelyard.workloads.activator import http2

CLIENT_SETTINGS = bytes((0, 0, 6, 4, 0, 0, 0, 0, 0)) + bytes((0, 4, 0, 0, 255, 255))
WINDOW = bytes((0, 0, 4, 8, 0, 0, 0, 0, 0)) + bytes((0, 0, 255, 255))
ACK = bytes((0, 0, 0, 4, 1, 0, 0, 0, 0))
DATA = bytes((0, 1, 44, 0, 1, 0, 0, 0, 1)) + ACK * 33 + b"abc"
"""A frame of 300 bytes whose content looks like acknowledgements."""
BEFORE = http2.PREFACE + CLIENT_SETTINGS + WINDOW + DATA


@pytest.mark.parametrize("size", [1, 2, 7, 9, 24, 1000])
def test_only_the_first_acknowledgement_is_taken_out(size: int) -> None:
    said = BEFORE + ACK + DATA + ACK + DATA
    filtered = http2.Acknowledged()
    parts = [said[at : at + size] for at in range(0, len(said), size)]
    assert b"".join(map(filtered, parts)) == BEFORE + DATA + ACK + DATA


def test_a_client_that_acknowledges_nothing_is_handed_on_whole() -> None:
    assert http2.Acknowledged()(BEFORE) == BEFORE


def test_only_http2_is_recognized() -> None:
    assert http2.begins(BEFORE)
    assert not http2.begins(b"POST /v2/models/shelf/infer HTTP/1.1\r\n")
    assert not http2.begins(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
