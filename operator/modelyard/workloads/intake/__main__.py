"""Runs the intake service until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from aiohttp import web

from modelyard.contract import exitcodes
from modelyard.workloads.intake.access import Access
from modelyard.workloads.intake.service import Service
from modelyard.workloads.intake.settings import Settings, SettingsError, read
from modelyard.workloads.runner import log_to_stdout

logger = logging.getLogger("modelyard.intake")


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with Access.from_environment(settings.namespaces, settings.agent_account) as access:
        app = Service(settings, access).application()
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, None, settings.port).start()
            logger.info("signs uploads to %s", settings.location.url)
            await stopping.wait()
        finally:
            await runner.cleanup()


def main() -> int:
    """Returns the exit code."""
    log_to_stdout()
    try:
        settings = read(os.environ)
    except SettingsError as error:
        logger.error("%s", error)
        return exitcodes.USER_ERROR
    asyncio.run(_run(settings))
    return exitcodes.OK


if __name__ == "__main__":
    sys.exit(main())
