"""Composes a status: what every kind has, plus its own fields; absent means removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from modelyard.contract.statustext import truncate
from modelyard.core import meta
from modelyard.core.conditions import READY, RECONCILING, STALLED, Cond, conditions
from modelyard.core.plan import KubeObject
from modelyard.core.policy import Verdict


def compose(
    obj: KubeObject,
    *,
    phase: str,
    message: str,
    conds: Iterable[Cond],
    now: datetime,
    **fields: Any,
) -> dict[str, Any]:
    """The whole operator-owned status of an object; fields that are None are left out."""
    return {
        "observedGeneration": meta.generation(obj),
        "phase": str(phase),
        "message": truncate(message),
        "conditions": conditions(
            conds,
            previous=meta.status(obj).get("conditions"),
            generation=meta.generation(obj),
            now=now,
        ),
        **{key: value for key, value in fields.items() if value is not None},
    }


def unfinished(
    obj: KubeObject,
    verdict: Verdict,
    *,
    own: Mapping[str, bool | None],
    now: datetime,
    **fields: Any,
) -> dict[str, Any]:
    """The status of an object that is not Ready for one reason; `own` are its further conditions
    by type, which have that reason too."""
    types: dict[str, bool | None] = {READY: False, **own}
    return compose(
        obj,
        phase=verdict.phase,
        message=verdict.message,
        conds=[
            *(Cond(kind, value, verdict.reason, verdict.message) for kind, value in types.items()),
            *progress_conditions(verdict),
        ],
        now=now,
        **fields,
    )


def progress_conditions(verdict: Verdict) -> list[Cond]:
    """kstatus' Reconciling or Stalled for an object that cannot go on."""
    kind = STALLED if verdict.stalled else RECONCILING
    return [Cond(kind, True, verdict.reason, verdict.message)]


def carried(obj: KubeObject, *names: str) -> dict[str, Any]:
    """Fields of the present status to keep."""
    status = meta.status(obj)
    return {name: status[name] for name in names if status.get(name) is not None}
