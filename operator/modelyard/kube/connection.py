"""Address and credentials of the API server, from `kubernetes.aio`.

Only configuration and credentials come from that library (service account or kubeconfig: tokens,
exec plugins, client certificates). Requests use aiohttp directly, which takes a seventh of the CPU
time. client.py and handlers/kopf_adapter.py share the sessions that are made here.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME

CONNECT_SECONDS = 30.0
_EXPIRY_SECONDS = 60.0
"""Age at which credentials of a kubeconfig are read again before use: exec plugins and token files
supply short-lived tokens without an expiry time."""


class NoConnection(Exception):
    """No usable configuration; the message names the source that was tried."""


class Connection:
    """Address and credentials, read again when they are old or rejected."""

    def __init__(self, configuration: Configuration, kubeconfig: str | None) -> None:
        self._configuration = configuration
        self._kubeconfig = kubeconfig
        self._loaded = time.monotonic()
        self._lock = asyncio.Lock()
        self._ssl = _ssl_context(configuration)

    @classmethod
    async def open(cls, kubeconfig: str | None = None) -> Connection:
        """From the given kubeconfig file, or else KUBECONFIG, the pod's service account, or the
        user's kubeconfig, in this order. Raises NoConnection.
        """
        path = kubeconfig or _usual_kubeconfig()
        configuration = Configuration()
        await _load(configuration, path)
        return cls(configuration, path)

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self._configuration.host).rstrip("/")

    async def authorization(self) -> str | None:
        """The Authorization header's value, or None with a client certificate."""
        if self._kubeconfig and time.monotonic() - self._loaded > _EXPIRY_SECONDS:
            await self.renew(self._loaded)
        value = await self._configuration.get_api_key_with_prefix("BearerToken")
        return None if value is None else str(value)

    @property
    def loaded(self) -> float:
        """When the credentials were last read; pass it to `renew` after a 401."""
        return self._loaded

    async def renew(self, seen: float) -> None:
        """Read the credentials again, unless that happened since `seen`.

        Failures are ignored here, since an old token may still be valid; the next request shows.
        """
        async with self._lock:
            if self._loaded != seen:
                return
            try:
                await _load(self._configuration, self._kubeconfig)
                _load_client_certificate(self._ssl, self._configuration)
            except (NoConnection, OSError, ssl.SSLError):
                pass
            self._loaded = time.monotonic()

    def session(self, *, limit: int) -> aiohttp.ClientSession:
        """A new session with at most `limit` connections (0: any number)."""

        async def log_in(
            request: aiohttp.ClientRequest,
            handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
        ) -> aiohttp.ClientResponse:
            for last in (False, True):
                seen = self._loaded
                value = await self.authorization()
                if value is not None:
                    request.headers["Authorization"] = value
                response = await handler(request)
                if response.status != 401 or last:
                    break
                response.release()
                await self.renew(seen)
            return response

        options: dict[str, Any] = {}
        if self._configuration.proxy:
            options["proxy"] = self._configuration.proxy
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limit, ssl=self._ssl or True),
            headers={"User-Agent": "modelyard-operator", "Accept": "application/json"},
            middlewares=(log_in,),
            **options,
        )


def _usual_kubeconfig() -> str | None:
    if "KUBECONFIG" in os.environ:
        return os.environ["KUBECONFIG"]
    return None if os.path.exists(SERVICE_TOKEN_FILENAME) else os.path.expanduser("~/.kube/config")


async def _load(configuration: Configuration, kubeconfig: str | None) -> None:
    try:
        if kubeconfig is None:
            load_incluster_config(client_configuration=configuration)
        else:
            await load_kube_config(kubeconfig, client_configuration=configuration)
    except (ConfigException, OSError) as error:
        source = f"kubeconfig {kubeconfig}" if kubeconfig else "the pod's service account"
        raise NoConnection(f"cannot log in to Kubernetes with {source}: {error}") from None


def _ssl_context(configuration: Configuration) -> ssl.SSLContext | None:
    if not str(configuration.host).startswith("https"):
        return None
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _load_client_certificate(context, configuration)
    return context


def _load_client_certificate(context: ssl.SSLContext | None, configuration: Configuration) -> None:
    if context is not None and configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
