"""What is said to gRPC clients that wait.

A gRPC client takes a connection for dead on which the server's first frame, SETTINGS, is not there
within 20 s, and fails its requests. So whoever waits gets an empty one at once. The server's own
comes later and holds from then on; what the client acknowledges of ours the server must not see.

https://www.rfc-editor.org/rfc/rfc9113#section-3.4
"""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""How a client without TLS begins."""
SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""A SETTINGS frame that sets nothing."""

_HEADER = 9
_SETTINGS_TYPE, _ACK = 4, 1


def begins(data: bytes) -> bool:
    """Whether a client that says this first speaks HTTP/2."""
    return data.startswith(PREFACE)


class Acknowledged:
    """Takes the client's first acknowledgement of settings out of what it says."""

    def __init__(self) -> None:
        self._rest = len(PREFACE)
        """Bytes to hand on before the next frame begins."""
        self._begun = b""
        """The beginning of a frame's header."""
        self._done = False

    def __call__(self, data: bytes) -> bytes:
        """What the server is to see of the client's next bytes."""
        if self._done:
            return data
        data, self._begun = self._begun + data, b""
        at = 0
        while True:
            at, self._rest = at + self._rest, max(0, at + self._rest - len(data))
            if self._rest or at == len(data):
                return data
            header = data[at : at + _HEADER]
            if len(header) < _HEADER:
                self._begun = header
                return data[:at]
            if header[3] == _SETTINGS_TYPE and header[4] & _ACK:
                self._done = True
                return data[:at] + data[at + _HEADER :]
            self._rest = _HEADER + int.from_bytes(header[:3], "big")
