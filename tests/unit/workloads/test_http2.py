"""What the activator parses of the bytes of a gRPC client."""

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
    frames = http2.ClientFrames()
    frames.drop_acknowledgement = True
    parts = [said[at : at + size] for at in range(0, len(said), size)]
    assert b"".join(map(frames, parts)) == BEFORE + DATA + ACK + DATA


def test_words_are_handed_on_whole_otherwise() -> None:
    frames = http2.ClientFrames()
    assert frames(BEFORE + ACK) == BEFORE + ACK


@pytest.mark.parametrize("size", [1, 7, 9, 100])
def test_only_headers_and_data_belong_to_requests(size: int) -> None:
    frames = http2.ClientFrames()
    frames(BEFORE)
    assert frames.carried_request
    for at in range(0, len(ACK + WINDOW), size):
        frames((ACK + WINDOW)[at : at + size])
        assert not frames.carried_request
    asked = []
    for at in range(0, len(DATA), size):
        frames(DATA[at : at + size])
        asked.append(frames.carried_request)
    assert asked[-1]
    frames(WINDOW)
    assert not frames.carried_request


def test_only_http2_is_recognized() -> None:
    assert http2.is_preface(BEFORE)
    assert not http2.is_preface(b"POST /v2/models/shelf/infer HTTP/1.1\r\n")
    assert not http2.is_preface(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
