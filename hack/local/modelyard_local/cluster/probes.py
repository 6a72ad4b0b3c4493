"""Asks components whether they are healthy, over the endpoints that they offer for it."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from modelyard_local.cluster.pki import Pair

_TIMEOUT = 5.0

Check = Callable[[], str]
"""Returns an empty text when healthy, else why not."""


@dataclass(frozen=True)
class HttpProbe:
    """Healthy while a GET of `url` answers 200."""

    url: str
    authority: Path | None = None
    """What the server's certificate is checked against; None on loopback with a self-made one."""
    client: Pair | None = None

    def check(self) -> str:
        """Empty when healthy, else why not."""
        parts = urlsplit(self.url)
        address, port = parts.hostname or "", parts.port
        connection: http.client.HTTPConnection
        try:
            if parts.scheme == "https":
                connection = http.client.HTTPSConnection(
                    address, port, timeout=_TIMEOUT, context=self._context()
                )
            else:
                connection = http.client.HTTPConnection(address, port, timeout=_TIMEOUT)
            try:
                connection.request("GET", parts.path)
                response = connection.getresponse()
                body = response.read(2000).decode(errors="replace").strip()
            finally:
                connection.close()
        except OSError as error:
            return f"{self.url}: {error.strerror or error}"
        except http.client.HTTPException as error:
            return f"{self.url}: {error!r}"
        if response.status == http.HTTPStatus.OK:
            return ""
        failed = [line for line in body.splitlines() if line.startswith("[-]")]
        return f"{self.url} answered {response.status}: {', '.join(failed) or body[:200]}"

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.authority:
            context.load_verify_locations(self.authority)
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client:
            context.load_cert_chain(self.client.certificate, self.client.key)
        return context
