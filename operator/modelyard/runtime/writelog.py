"""What a reconcile has written, for its line in the log.

executor.py records it, reconciler.py logs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.kube.kinds import KubeKind

LOGGED_WRITES = 20
"""Writes of one reconcile that are named in the log."""


@dataclass
class WriteLog:
    """The writes of one reconcile, for the log."""

    entries: list[str] = field(default_factory=list)

    def summary(self) -> list[str]:
        """The first LOGGED_WRITES entries, and how many more there are."""
        rest = len(self.entries) - LOGGED_WRITES
        return self.entries if rest <= 0 else [*self.entries[:LOGGED_WRITES], f"and {rest} more"]

    def add(self, verb: str, kind: KubeKind, name: str) -> None:
        """Record a write."""
        self.entries.append(f"{verb} {kind.name} {name}")
