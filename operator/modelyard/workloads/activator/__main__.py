"""`python -m modelyard.workloads.activator`."""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import signal
import sys
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

import aiohttp

from modelyard.contract import exitcodes
from modelyard.workloads.activator.proxy import Gate, Limits
from modelyard.workloads.activator.scale import Scale
from modelyard.workloads.activator.servers import Address, Servers
from modelyard.workloads.agent.settings import CREDENTIALS
from modelyard.workloads.runner import log_to_stdout

logger = logging.getLogger("modelyard.workloads.activator")

END_SECONDS = 20.0
"""Most time that requests which have reached a server get after SIGTERM."""
READY_SECONDS = 2.0


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the operator has written into the pod."""
    parser = argparse.ArgumentParser(prog="modelyard.workloads.activator")
    parser.add_argument("--deployment", required=True, help="Modelyard Deployment to wake")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--servers", type=int, default=1, help="servers to wake")
    parser.add_argument("--after", type=float, required=True, help="seconds until servers sleep")
    parser.add_argument("--wait", type=float, required=True, help="seconds that clients wait")
    parser.add_argument(
        "--leave", type=float, default=0, help="seconds for which servers that go still answer"
    )
    parser.add_argument("--ready", required=True, help="URL that says whether a server answers")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - clients are other pods
    parser.add_argument(
        "--port",
        action="append",
        type=_port,
        required=True,
        metavar="LISTEN=HOST:PORT",
        help="where a port's connections lead; may be repeated",
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
    """Accept connections until `stop`, then let those that are open end. Raises OSError if a port
    is taken."""
    name = options.deployment
    async with Scale(options.api or _api(), options.namespace, options.credentials) as scale:

        async def wake() -> None:
            if await scale.replicas(name) == 0:
                await scale.scale(name, options.servers)
                logger.info("asked for %d servers of %s", options.servers, name)

        async def sleep() -> None:
            if await scale.replicas(name) > 0:
                await scale.scale(name, 0)
                logger.info("nobody asked for %.0f s: %s sleeps", options.after, name)

        ready = functools.partial(_ready, options.ready)
        behind = Servers(wake=wake, sleep=sleep, ready=ready, leave=options.leave)
        gate = Gate(Limits(options.after, options.wait), behind)
        listening = [
            await gate.listen(options.host, port, address) for port, address in options.port
        ]
        resting = asyncio.create_task(gate.rest(), name="rest")
        await stop.wait()
        resting.cancel()
        for server in listening:
            server.close()
        await gate.end(END_SECONDS)


async def _ready(url: str) -> bool:
    timeout = aiohttp.ClientTimeout(total=READY_SECONDS)
    try:
        # A new connection each time: an old one may lead to a server that has left the Service.
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return response.status == HTTPStatus.OK
    except (aiohttp.ClientError, OSError):
        return False


async def _main() -> int:
    options = arguments()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await run(options, stop)
    except OSError as error:
        logger.error("a port cannot be used: %s", error)
        return exitcodes.RETRYABLE
    return exitcodes.OK


if __name__ == "__main__":
    log_to_stdout()
    sys.exit(asyncio.run(_main()))
