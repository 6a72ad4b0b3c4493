"""What a Deployment's status says of rollouts, typed: what the last decision wrote.

Parsed once, when the Deployment is observed; status.py writes the next one back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelyard.api.monitoringstatus import MonitoringStatus
from modelyard.api.rolloutstatus import (
    Override,
    RejectedVersion,
    RolloutRecord,
    RolloutState,
    ServedVersion,
)
from modelyard.contract.naming import line_of


@dataclass(frozen=True)
class Recorded:
    """The state of rollouts; nothing of it is on an object that was never reconciled."""

    generation: int | None = None
    """Generation of the spec that the status is about."""
    phase: str = ""
    stable: ServedVersion | None = None
    candidate: ServedVersion | None = None
    rollout: RolloutState | None = None
    rejected: RejectedVersion | None = None
    override: Override | None = None
    history: tuple[RolloutRecord, ...] = ()
    """The latest first."""
    revision: int = 0
    actions: Mapping[str, str] = field(default_factory=dict)
    """Values of the action annotations that were acted on last."""
    monitoring: MonitoringStatus | None = None

    @property
    def model_line(self) -> str:
        """The model line that serves; empty if nothing ever has."""
        served = self.stable
        return line_of(served.model_version, served.version) if served else ""

    @property
    def decisions(self) -> Recorded:
        """All of it that servers' assignments follow from, to compare before with after."""
        rollout = self.rollout.decisions if self.rollout else None
        return replace(self, generation=None, phase="", rollout=rollout, monitoring=None)

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Recorded:
        """From the wire format. Raises pydantic.ValidationError."""
        return cls(
            generation=status.get("observedGeneration"),
            phase=str(status.get("phase") or ""),
            stable=ServedVersion.parsed(status.get("stable")),
            candidate=ServedVersion.parsed(status.get("candidate")),
            rollout=RolloutState.parsed(status.get("rollout")),
            rejected=RejectedVersion.parsed(status.get("rejected")),
            override=Override.parsed(status.get("override")),
            history=tuple(RolloutRecord.model_validate(one) for one in status.get("history") or ()),
            revision=int(status.get("revision") or 0),
            actions=dict(status.get("actions") or {}),
            monitoring=MonitoringStatus.parsed(status.get("monitoring")),
        )
