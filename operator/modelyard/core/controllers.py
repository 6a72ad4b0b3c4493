"""All controllers, for the engine: the `CONTROLLER` of each registered kind's `decide.py`.

references.py completes each with what follows from the kinds' references to each other.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from modelyard.api.kinds import ALL_KINDS
from modelyard.api.registration import KindInfo
from modelyard.core.jobnodes import JOB_NODES
from modelyard.core.plan import Controller
from modelyard.core.references import completed
from modelyard.core.refusals import ABOUT, EVENT, about, mapper


def _of(info: KindInfo) -> Controller:
    """A kind's controller. Raises ImportError or AttributeError where its package has none."""
    own: Controller = import_module(f"{info.module}.decide").CONTROLLER
    return _seeing_pods(completed(own, info))


def _seeing_pods(own: Controller) -> Controller:
    """With what else the state of a Job or DaemonSet is read from: events about pods that the API
    server refused, and for Jobs the nodes of their pods."""
    if not {"Job", "apps/DaemonSet"}.intersection(own.children):
        return own
    nodes = {"job-nodes": JOB_NODES} if "Job" in own.children else {}
    return replace(
        own,
        triggers={**own.triggers, EVENT: mapper(own.kind, own.children)},
        indexes={**own.indexes, (EVENT, ABOUT): about},
        aggregates={**own.aggregates, **nodes},
    )


CONTROLLERS: tuple[Controller, ...] = tuple(_of(info) for info in ALL_KINDS if info.reconciled)
