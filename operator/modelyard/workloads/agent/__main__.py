"""`python -m modelyard.workloads.agent`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from modelyard.contract import exitcodes
from modelyard.store import StoreError
from modelyard.workloads.agent.agent import Agent
from modelyard.workloads.agent.settings import SettingsError, read_settings
from modelyard.workloads.runner import log_to_stdout

logger = logging.getLogger("modelyard.workloads.agent")


async def _run() -> int:
    try:
        settings = read_settings()
        agent = Agent(settings)
    except (SettingsError, StoreError) as error:
        logger.error("%s", error)
        return exitcodes.USER_ERROR
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    logger.info(
        "agent of %s/%s on node %s: serves %s of Modelyard Deployment %s with Triton at %s, "
        "as ModelServer %s says",
        settings.namespace, settings.pod_name, settings.node_name or "?",
        settings.run.model_line, settings.run.deployment, settings.triton, settings.server_name,
    )  # fmt: skip
    try:
        await agent.run()
    except OSError as error:
        logger.error("the probes' port %d cannot be used: %s", settings.probe_port, error)
        return exitcodes.RETRYABLE
    logger.info("stopped")
    return exitcodes.OK


if __name__ == "__main__":
    log_to_stdout()
    sys.exit(asyncio.run(_run()))
