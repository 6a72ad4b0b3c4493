"""Names for the operator's writes that are the same in every run and on every machine.

A fault plan says at which write its fault strikes, so the name of a write must not depend on how
many other writes came before it. The name is what is written, and how often that has happened:
`apply ModelServer cameras #2` is the second time that a ModelServer of cameras is applied.

How often a status is written does depend on the machine: a busy operator sees two changes in one
reconcile and writes once where an idle one writes twice. A status write is therefore named by the
state that it leaves behind (phase, rollout stage and step):

    status Deployment cameras Paused Step 1 #2      the second time that it becomes `Paused Step 1`
    status Deployment cameras Paused Step 1 #2.1    the first write after that within this state

Writes that coalesce within one state move no name outside of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ...unit.mergepatch import merged

STATUS = "status"
"""The verb of a write of a status."""


class WriteNames:
    """Names the writes of one run, in the order in which they are sent."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()
        self._updates: Counter[str] = Counter()
        self._statuses: dict[str, Any] = {}
        self._states: dict[str, str] = {}

    def write(self, target: str) -> str:
        """Name of a write; `target` is its verb, kind and object."""
        self._times[target] += 1
        return f"{target} #{self._times[target]}"

    def status(self, target: str, patch: Mapping[str, Any]) -> str:
        """Name of a write that sends a JSON merge patch of an object's status."""
        known = self._statuses[target] = merged(self._statuses.get(target), dict(patch))
        state = state_of(known)
        entry = f"{target} {state}".rstrip()
        if self._states.get(target) != state:
            self._states[target] = state
            self._updates[target] = 0
            return self.write(entry)
        self._updates[target] += 1
        return f"{entry} #{self._times[entry]}.{self._updates[target]}"


def state_of(status: Mapping[str, Any]) -> str:
    """The state that a status describes: phase, rollout stage and step, as far as it has them."""
    rollout = status.get("rollout") or {}
    parts = (status.get("phase"), rollout.get("stage"), rollout.get("step"))
    return " ".join(str(part) for part in parts if part is not None)


def is_update(name: str) -> bool:
    """Whether a write leaves a status in the state that it was in. How many of these there are
    depends on how busy the machine is."""
    return "." in name.rpartition(" #")[2]


def writes_status(name: str) -> bool:
    """Whether a write is one of a status."""
    return name.startswith(f"{STATUS} ")
