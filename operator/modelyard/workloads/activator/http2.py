"""What is said to gRPC clients that wait, and which of their words are requests.

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
_DATA, _HEADERS, _SETTINGS_TYPE = 0, 1, 4
_ACK = 1


def begins(data: bytes) -> bool:
    """Whether a client that says this first speaks HTTP/2."""
    return data.startswith(PREFACE)


class Words:
    """What a client says, from its preface on."""

    def __init__(self) -> None:
        self.drop_acknowledgement = False
        """Whether to take the next acknowledgement of settings out of what it says."""
        self.asked = False
        """Whether there was a part of a request in its last words, not only what keeps the
        connection: that is often an idle client's last word."""
        self._rest = len(PREFACE)
        """Bytes until the next frame begins."""
        self._begun = b""
        """The beginning of a frame's header."""
        self._in_request = False

    def __call__(self, data: bytes) -> bytes:
        """What the server is to see of the client's next bytes."""
        data, self._begun = self._begun + data, b""
        self.asked = self._in_request and self._rest > 0 and bool(data)
        at = 0
        while True:
            at, self._rest = at + self._rest, max(0, at + self._rest - len(data))
            if self._rest or at == len(data):
                return data
            header = data[at : at + _HEADER]
            if len(header) < _HEADER:
                self._begun = header
                return data[:at]
            if self.drop_acknowledgement and header[3] == _SETTINGS_TYPE and header[4] & _ACK:
                self.drop_acknowledgement = False
                data = data[:at] + data[at + _HEADER :]
                continue
            self._in_request = header[3] in (_DATA, _HEADERS)
            self.asked |= self._in_request
            self._rest = _HEADER + int.from_bytes(header[:3], "big")
