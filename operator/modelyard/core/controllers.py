"""All controllers, for the engine: the `CONTROLLER` of each registered kind's `decide.py`.

references.py completes each with what follows from the kinds' references to each other.
"""

from __future__ import annotations

from importlib import import_module

from modelyard.api.kinds import ALL_KINDS
from modelyard.api.registration import KindInfo
from modelyard.core.plan import Controller
from modelyard.core.references import completed


def _of(info: KindInfo) -> Controller:
    """A kind's controller. Raises ImportError or AttributeError where its package has none."""
    own: Controller = import_module(f"{info.module}.decide").CONTROLLER
    return completed(own, info)


CONTROLLERS: tuple[Controller, ...] = tuple(_of(info) for info in ALL_KINDS if info.reconciled)
