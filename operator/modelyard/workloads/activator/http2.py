"""The little of HTTP/2 that the proxy must understand: SETTINGS for waiting gRPC clients, and which
frames belong to requests.

A gRPC client considers a connection dead if the server's first frame, SETTINGS, has not arrived
within 20 s, and fails its requests. So the proxy sends a client that has to wait an empty SETTINGS
frame at once. The server's own SETTINGS frame follows later and replaces it; the client's
acknowledgement of the proxy's frame must not reach the server, which never sent one.

https://www.rfc-editor.org/rfc/rfc9113#section-3.4
"""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""Connection preface of a client without TLS."""
SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""An empty SETTINGS frame."""

_HEADER = 9
_DATA, _HEADERS, _SETTINGS_TYPE = 0, 1, 4
_ACK = 1


def is_preface(data: bytes) -> bool:
    """Whether a client whose first bytes these are speaks HTTP/2."""
    return data.startswith(PREFACE)


class ClientFrames:
    """Parses the bytes that a client sends, from its preface on, frame by frame."""

    def __init__(self) -> None:
        self.drop_acknowledgement = False
        """Whether to remove the next SETTINGS acknowledgement from the stream."""
        self.carried_request = False
        """Whether the last bytes contained part of a request (HEADERS or DATA), not only frames
        that keep the connection alive: an idle client often sends those last."""
        self._rest = len(PREFACE)
        """Bytes until the next frame begins."""
        self._partial_header = b""
        """The first bytes of a frame header that has not arrived in full."""
        self._in_request = False

    def __call__(self, data: bytes) -> bytes:
        """Parse the client's next bytes; returns what to forward to the server."""
        data, self._partial_header = self._partial_header + data, b""
        self.carried_request = self._in_request and self._rest > 0 and bool(data)
        at = 0
        while True:
            at, self._rest = at + self._rest, max(0, at + self._rest - len(data))
            if self._rest or at == len(data):
                return data
            header = data[at : at + _HEADER]
            if len(header) < _HEADER:
                self._partial_header = header
                return data[:at]
            if self.drop_acknowledgement and header[3] == _SETTINGS_TYPE and header[4] & _ACK:
                self.drop_acknowledgement = False
                data = data[:at] + data[at + _HEADER :]
                continue
            self._in_request = header[3] in (_DATA, _HEADERS)
            self.carried_request |= self._in_request
            self._rest = _HEADER + int.from_bytes(header[:3], "big")
