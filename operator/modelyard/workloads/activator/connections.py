"""The two sides of a forwarded connection: bytes in, bytes out, with bounded buffers.

asyncio's streams would buffer up to 256 KiB per direction and connection; a thousand waiting
connections would need half a gigabyte. These protocols share one read buffer and stop reading
while the other side is slow. Who decides where a connection goes: proxy.py.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from modelyard.workloads.activator import http2

MAX_WAITING_BYTES = 16 * 1024
"""Maximum buffered bytes per connection that waits for a server."""
CHUNK_BYTES = 64 * 1024
"""Maximum bytes per read, and the write buffer size above which reading from the other side is
paused."""

_buffer = memoryview(bytearray(CHUNK_BYTES))
"""Read buffer shared by all connections: what is read is copied at once."""


class Listener(Protocol):
    """Receives the events of client connections."""

    def accepted(self, client: ClientConnection) -> None:
        """A client has connected."""

    def opened(self, client: ClientConnection, first: bytes) -> None:
        """A client has sent its first bytes; no more are read until it is connected."""

    def active(self, client: ClientConnection) -> None:
        """Bytes have passed in either direction."""

    def closed(self, client: ClientConnection) -> None:
        """The client's connection has ended."""


class _Connection(asyncio.BufferedProtocol):
    """One side; `peer` is the other one, once there is one."""

    transport: asyncio.Transport
    peer: _Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=CHUNK_BYTES)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received(bytes(_buffer[:nbytes]))

    def received(self, data: bytes) -> None:
        raise NotImplementedError

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        # Closing flushes: bytes on their way to the peer still arrive.
        if self.peer is not None:
            self.peer.transport.close()


class ClientConnection(_Connection):
    """The client's side. One without a byte, such as a TCP health check, is no traffic."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._opened = False
        self._frames: http2.ClientFrames | None = None
        self.awaits_response = False
        """Whether the client has sent part of a request since the server last sent anything."""
        self.last_active = 0.0
        """When bytes last passed in either direction, or it was accepted; the listener keeps it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Report it to the listener, which may close it at once."""
        super().connection_made(transport)
        self._listener.accepted(self)

    def drop(self) -> None:
        """Close the connection, even if the client does not read what was sent to it."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        """The shared buffer; a short part of it until the client is connected."""
        return _buffer if self._opened else _buffer[:MAX_WAITING_BYTES]

    def received(self, data: bytes) -> None:
        """Report the first bytes to the listener; forward later ones to the server."""
        if not self._opened:
            self._opened = self.awaits_response = True
            self.transport.pause_reading()
            self._listener.opened(self, data)
        elif self.peer is not None:
            if self._frames is not None:
                data = self._frames(data)
            self.awaits_response |= self._frames is None or self._frames.carried_request
            self._listener.active(self)
            self.peer.transport.write(data)

    def respond(self, data: bytes) -> None:
        """Forward the server's bytes to the client."""
        self.awaits_response = False
        self._listener.active(self)
        self.transport.write(data)

    def connect(
        self, server: ServerConnection, first: bytes, frames: http2.ClientFrames | None
    ) -> None:
        """Forward the client's first bytes, and from now on everything in both directions;
        `frames` parses a client that speaks HTTP/2."""
        if self.transport.is_closing():
            server.transport.close()
            return
        self.peer, self._frames = server, frames
        server.peer = self
        server.transport.write(frames(first) if frames else first)
        self.transport.resume_reading()

    def eof_received(self) -> bool:
        """Pass the client's end of stream on to the server."""
        if self.peer is None:
            return False
        # Half-closed: the client sends no more requests, but still reads responses.
        self.peer.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the server's side, and report to the listener."""
        super().connection_lost(exc)
        self._listener.closed(self)


class ServerConnection(_Connection):
    """The server's side. When the server closes it, later requests of the client could not be
    answered, so the client's connection is closed too."""

    peer: ClientConnection | None = None

    def received(self, data: bytes) -> None:
        """Forward the response to the client."""
        if self.peer is not None:
            self.peer.respond(data)
