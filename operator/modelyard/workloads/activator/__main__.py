"""Entry point of the activator's pod: `python -m modelyard.workloads.activator`.

Reads the command line, which core/deployment/activator.py writes, and runs listeners, probes and
the scaling loop until SIGTERM. What happens with a connection: proxy.py, connections.py; how
servers are found and woken: servers.py, scale.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import aiohttp

from modelyard.contract import exitcodes
from modelyard.workloads.activator.proxy import Limits, Proxy
from modelyard.workloads.activator.scale import Refusals, Scale
from modelyard.workloads.activator.servers import Address, Servers
from modelyard.workloads.agent.settings import CREDENTIALS
from modelyard.workloads.runner import log_to_stdout

logger = logging.getLogger("modelyard.workloads.activator")

END_SECONDS = 20.0
"""Maximum time after SIGTERM for requests that have reached a server."""
READY_SECONDS = 2.0


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, which core/deployment/activator.py writes into the pod."""
    parser = argparse.ArgumentParser(prog="modelyard.workloads.activator")
    parser.add_argument("--deployment", required=True, help="Modelyard Deployment to scale")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--servers", type=int, default=1, help="servers to scale up to")
    parser.add_argument(
        "--after", type=float, required=True, help="seconds without traffic until scale to zero"
    )
    parser.add_argument(
        "--wait", type=float, required=True, help="maximum seconds that clients wait"
    )
    parser.add_argument(
        "--leave", type=float, default=0, help="seconds for which terminating servers still answer"
    )
    parser.add_argument("--ready", required=True, help="readiness URL of the servers")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - clients are other pods
    parser.add_argument(
        "--port",
        action="append",
        type=_port,
        required=True,
        metavar="LISTEN=HOST:PORT",
        help="port to listen on and where it forwards to; repeatable",
    )
    parser.add_argument("--credentials", type=Path, default=CREDENTIALS)
    parser.add_argument("--api", default="", help="API server, as https://HOST:PORT")
    return parser.parse_args(given)


def _port(text: str) -> tuple[int, Address]:
    listen, _, target = text.partition("=")
    host, _, port = target.rpartition(":")
    return int(listen), Address(host, int(port))


def _api() -> str:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}"


async def run(options: argparse.Namespace, stop: asyncio.Event) -> None:
    """Accept connections until `stop`, then drain those that are open. Raises OSError if a port is
    in use."""
    name = options.deployment
    async with Scale(options.api or _api(), options.namespace, options.credentials) as scale:

        async def scale_up() -> None:
            if await scale.replicas(name) == 0:
                await scale.scale(name, options.servers)
                logger.info("scaled %s up to %d servers", name, options.servers)

        async def scale_down() -> None:
            if await scale.replicas(name) > 0:
                await scale.scale(name, 0)
                logger.info("no traffic for %.0f s: scaled %s to zero", options.after, name)

        ready = functools.partial(_ready, options.ready)
        refusals = Refusals(scale, name)
        servers = Servers(
            scale_up=refusals.watching(scale_up),
            scale_down=refusals.watching(scale_down),
            ready=ready,
            drain_seconds=options.leave,
        )
        proxy = Proxy(Limits(options.after, options.wait), servers)
        listening = [
            await proxy.listen(options.host, port, address) for port, address in options.port
        ]
        idle_timer = asyncio.create_task(proxy.run_idle_timer(), name="idle timer")
        await stop.wait()
        idle_timer.cancel()
        for server in listening:
            server.close()
        await proxy.end(END_SECONDS)


async def _ready(url: str) -> bool:
    timeout = aiohttp.ClientTimeout(total=READY_SECONDS)
    try:
        # A new connection each time: an old one may lead to a server outside the Service by now.
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return response.status == HTTPStatus.OK
    except (aiohttp.ClientError, OSError):
        return False


def _raise_descriptors() -> None:
    """Two sockets for each connection are more than the usual soft limit of 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _main() -> int:
    options = arguments()
    _raise_descriptors()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await run(options, stop)
    except OSError as error:
        logger.error("cannot listen on a port: %s", error)
        return exitcodes.RETRYABLE
    return exitcodes.OK


if __name__ == "__main__":
    log_to_stdout()
    sys.exit(asyncio.run(_main()))
