"""`python -m modelyard.workloads.activator`"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from modelyard.contract import exitcodes
from modelyard.workloads.activator.gate import Address, Gate, Limits
from modelyard.workloads.activator.scale import Scale
from modelyard.workloads.agent.settings import CREDENTIALS
from modelyard.workloads.runner import log_to_stdout

logger = logging.getLogger("modelyard.workloads.activator")

DRAIN_SECONDS = 20.0


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the operator has written into the pod."""
    parser = argparse.ArgumentParser(prog="modelyard.workloads.activator")
    parser.add_argument("--deployment", required=True, help="Modelyard Deployment to wake")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--servers", type=int, default=1, help="servers to wake")
    parser.add_argument("--after", type=float, required=True, help="seconds until servers sleep")
    parser.add_argument("--wait", type=float, required=True, help="seconds that clients wait")
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

        gate = Gate(Limits(options.after, options.wait), wake=wake, sleep=sleep)
        servers = [
            await asyncio.start_server(
                functools.partial(gate.accept, address=address), options.host, listen
            )
            for listen, address in options.port
        ]
        resting = asyncio.create_task(gate.rest(), name="rest")
        await stop.wait()
        resting.cancel()
        for server in servers:
            server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await gate.drained()


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
