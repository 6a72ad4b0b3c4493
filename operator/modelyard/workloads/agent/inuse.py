"""Which digests must stay in the cache."""

from __future__ import annotations

from modelyard.workloads.agent.memory import Memory
from modelyard.workloads.agent.watch import Assigned


def in_use(assigned: Assigned, memory: Memory) -> set[str]:
    """Digests of what is wanted, serves, is staged or shadowed, and of what a rollback needs.

    While another version is wanted than the one that serves, a rollback goes to the latter: the
    version before it may go then, else the cache would have to hold one more.
    """
    wanted = assigned.wanted.assignment if assigned.wanted else None
    served = memory.served.assignment if memory.served else None
    shadow = assigned.shadow.version if assigned.shadow else None
    used = [wanted, served, assigned.staged, shadow]
    if served is None or wanted is None or wanted.digest == served.digest:
        used.append(memory.previous)
    return {
        digest
        for one in used
        if one is not None
        for digest in (one.digest, one.manifest_digest, one.profile_digest)
        if digest is not None
    }
