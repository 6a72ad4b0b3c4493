"""What to do about a Survey, as `core/survey/decide.py` would be."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from modelyard.core import meta
from modelyard.core.plan import Apply, Controller, KubeObject, Plan, View
from modelyard.core.references import used_by
from modelyard.core.settings import Settings


class Observed(NamedTuple):
    """A Survey, and who needs it."""

    obj: KubeObject
    used_by: list[str] | None


def observe(view: View, obj: KubeObject, settings: Settings) -> Observed:
    """Gathers it from the cache."""
    return Observed(obj, used_by(view, obj, "Survey"))


def decide(observed: Observed, now: datetime) -> Plan:
    """Nothing but to say who needs it."""
    status: dict[str, Any] = {**meta.status(observed.obj), "phase": "Running"}
    return Apply(status={**status, "usedBy": observed.used_by} if observed.used_by else status)


CONTROLLER = Controller(kind="Survey", observe=observe, decide=decide, children=("Job", "Pod"))
