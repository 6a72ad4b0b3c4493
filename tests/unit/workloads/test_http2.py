"""What the activator understands of what a gRPC client says."""

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
    words = http2.Words()
    words.drop_acknowledgement = True
    parts = [said[at : at + size] for at in range(0, len(said), size)]
    assert b"".join(map(words, parts)) == BEFORE + DATA + ACK + DATA


def test_words_are_handed_on_whole_otherwise() -> None:
    words = http2.Words()
    assert words(BEFORE + ACK) == BEFORE + ACK


@pytest.mark.parametrize("size", [1, 7, 9, 100])
def test_only_parts_of_requests_ask_something(size: int) -> None:
    words = http2.Words()
    words(BEFORE)
    assert words.asked
    for at in range(0, len(ACK + WINDOW), size):
        words((ACK + WINDOW)[at : at + size])
        assert not words.asked
    asked = []
    for at in range(0, len(DATA), size):
        words(DATA[at : at + size])
        asked.append(words.asked)
    assert asked[-1]
    words(WINDOW)
    assert not words.asked


def test_only_http2_is_recognized() -> None:
    assert http2.begins(BEFORE)
    assert not http2.begins(b"POST /v2/models/shelf/infer HTTP/1.1\r\n")
    assert not http2.begins(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
