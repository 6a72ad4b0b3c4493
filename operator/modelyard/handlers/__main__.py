"""The operator: `python -m modelyard.handlers`."""

from __future__ import annotations

import gc
import sys

import uvloop

from modelyard.core.controllers import CONTROLLERS
from modelyard.handlers.process import run
from modelyard.kube.connection import NoConnection
from modelyard.runtime import logs
from modelyard.runtime.settings import InvalidSettings, load


def main() -> int:
    """Run the operator; returns its exit code."""
    try:
        settings = load()
    except InvalidSettings as error:
        print(f"modelyard operator: wrong settings: {error}", file=sys.stderr)
        return 2
    logs.configure(settings.log_level, settings.log_format)
    # Saves a sixth of the CPU time per object: loaded modules stay in memory anyway, and reference
    # counting frees nearly all other objects.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        uvloop.run(run(CONTROLLERS, settings))
    except NoConnection as error:
        print(f"modelyard operator: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{settings.listen_address}:{settings.listen_port}"
        print(f"modelyard operator: cannot listen on {where}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
