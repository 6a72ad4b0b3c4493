"""How a played fleet behaves: everything that can be set, and what follows from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Span:
    """A duration that differs from try to try: log-normal, in seconds."""

    median: float
    sigma: float = 0.3
    """Standard deviation of the logarithm: 0.3 puts 95 % between 0.55 and 1.8 times the median."""

    def draw(self, rng: random.Random) -> float:
        """One duration."""
        return self.median * rng.lognormvariate(0.0, self.sigma) if self.median else 0.0


@dataclass(frozen=True)
class Behaviour:
    """What a version does on every server that holds it."""

    latency_ms: float = 18.0
    """Median of the time in the pipeline."""
    latency_sigma: float = 0.35
    """Standard deviation of its logarithm: 0.35 makes p95 1.8 times the median."""
    queue_ms: float = 0.4
    """Mean wait for the network."""
    error_rate: float = 0.001
    """Share of requests that fail."""
    boxes: float = 3.0
    """Mean boxes of an image."""
    confidence: float = 0.72
    """Mean confidence of a box."""
    agreement: float = 0.97
    """Share of stable's boxes that its answers match while it is shadowed."""
    unloadable: float = 0.0
    """Share of nodes on which it never loads."""


GOOD = Behaviour()
BAD: Mapping[str, Behaviour] = {
    "errors": Behaviour(error_rate=0.08),
    "slow": Behaviour(latency_ms=36.0),
    "unsure": Behaviour(confidence=0.55, boxes=1.9),
    "disagrees": Behaviour(agreement=0.6),
    "unloadable": Behaviour(unloadable=1.0),
}
"""Ways in which a candidate can be bad; each must be stopped in the first wave, or before."""


def candidate(kind: str, seed: int) -> Behaviour:
    """A good candidate, or one that is bad in a way of BAD: a little different with each seed."""
    rng = random.Random(f"{kind}/{seed}")
    usual = BAD.get(kind, GOOD)
    return replace(
        usual,
        latency_ms=usual.latency_ms * rng.uniform(0.92, 1.05),
        error_rate=usual.error_rate * rng.uniform(0.0, 2.0) if kind == "good" else usual.error_rate,
        confidence=usual.confidence * rng.uniform(0.98, 1.02),
    )


@dataclass
class FleetConfig:
    """The played agents of all nodes."""

    seed: int = 1
    fetch: Span = Span(4.0, 0.5)
    """Until an artifact that is not on the node's disk is fetched and verified."""
    load: Span = Span(2.5, 0.2)
    """Until Triton has loaded and warmed it up."""
    fetch_failures: float = 0.0
    """Chance that one fetch fails; tried again as the agent does."""
    requests: float = 5.0
    """Requests a second that a server gets."""
    asked: float = 1.0
    """Share of servers that get any."""
    node_spread: float = 0.08
    """Standard deviation of the logarithm of a node's own speed and traffic."""
    report_seconds: float = 100.0
    """Time between two reports when nothing has changed; the run spec of the pods says it."""
    often_seconds: float | None = None
    """The same while a version is young or shadowed; None: as the agent has it."""
    young_seconds: float | None = None
    """How long a version counts as young; None: as the agent has it."""
    versions: dict[int, Behaviour] = field(default_factory=dict)
    """Behaviour by version number; GOOD for all others."""
    writers: int = 24
    """Reports that are under way at the same time."""

    def behaviour(self, version: int) -> Behaviour:
        """How a version behaves."""
        return self.versions.get(version, GOOD)

    def rng(self, *what: object) -> random.Random:
        """Random numbers that depend only on the seed and on what they are for."""
        return random.Random("/".join(map(str, (self.seed, *what))))

    def loads(self, node: str, version: int) -> bool:
        """Whether a version can be loaded on a node: the same at every try."""
        share = self.behaviour(version).unloadable
        return share <= 0 or self.rng("loads", node, version).random() >= share
