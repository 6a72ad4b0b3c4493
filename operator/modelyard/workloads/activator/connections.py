"""The two ends of a connection that is handed on, with little of it in memory at any time.

Streams would take up to a quarter of a MiB for each direction of each connection.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from modelyard.workloads.activator import http2

FIRST = 16 * 1024
"""Most bytes that are taken of who may have to wait."""
CHUNK = 64 * 1024
"""Most bytes that are taken at once, and that wait for a slow reader before no more are taken."""

_buffer = memoryview(bytearray(CHUNK))
"""Of all connections: what is read is copied at once."""


class Listener(Protocol):
    """Who wants to know what clients do."""

    def begun(self, client: Client, first: bytes) -> None:
        """A client has said something; no more is read until it is joined."""

    def heard(self, client: Client) -> None:
        """A client or its server has said something."""

    def lost(self, client: Client) -> None:
        """The connection of a client has ended."""


class _End(asyncio.BufferedProtocol):
    transport: asyncio.Transport
    other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=CHUNK)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.said(bytes(_buffer[:nbytes]))

    def said(self, data: bytes) -> None:
        raise NotImplementedError

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        # What is on its way to the other end still gets there.
        if self.other is not None:
            self.other.transport.close()


class Client(_End):
    """The end at a client. Who says nothing, such as a probe, is not heard of."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._begun = False
        self._words: http2.Words | None = None
        self.asks = True
        """Whether the client has asked something since its server last said something."""
        self.heard = 0.0
        """When either has."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """The shared buffer, since data is handed on before the next read; a short one at first."""
        return _buffer if self._begun else _buffer[:FIRST]

    def said(self, data: bytes) -> None:
        """Take the first bytes of the request, or forward later ones to the server."""
        if not self._begun:
            self._begun = True
            self.transport.pause_reading()
            self._listener.begun(self, data)
        elif self.other is not None:
            if self._words is not None:
                data = self._words(data)
            self.asks |= self._words is None or self._words.asked
            self._listener.heard(self)
            self.other.transport.write(data)

    def answered(self, data: bytes) -> None:
        """The server says something to the client."""
        self.asks = False
        self._listener.heard(self)
        self.transport.write(data)

    def join(self, server: Server, first: bytes, words: http2.Words | None) -> None:
        """Hand on what the client said first and what both say from now on; `words` understands
        the client, if it speaks HTTP/2."""
        if self.transport.is_closing():
            server.transport.close()
            return
        self.other, self._words = server, words
        server.other = self
        server.transport.write(words(first) if words else first)
        self.transport.resume_reading()

    def eof_received(self) -> bool:
        """Forward the end of the client's requests; its connection stays open for answers."""
        if self.other is None:
            return False
        # The client has asked all it wants to, and is still answered.
        self.other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener."""
        super().connection_lost(exc)
        self._listener.lost(self)


class Server(_End):
    """The end at a server. Once it says no more, nobody would answer what the client may still
    ask: the connection ends."""

    other: Client | None = None

    def said(self, data: bytes) -> None:
        """Forward an answer to the client."""
        if self.other is not None:
            self.other.answered(data)
