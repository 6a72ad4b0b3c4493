"""What a played server measures: figures of its requests, and of copies answered by a shadow.

Draws are numpy's, from a generator of the server's own, so that its figures do not depend on what
other servers do.
"""

from __future__ import annotations

import math

import numpy as np

from modelyard.api.modelserver import (
    LATENCY_BOUNDS_MS,
    Assignment,
    Figures,
    LoadedVersion,
    ShadowFigures,
)
from modelyard.workloads.agent.window import SECONDS as WINDOW

from .config import Behaviour


def bucket_shares(behaviour: Behaviour, speed: float) -> np.ndarray:
    """The share of requests in each bucket of LATENCY_BOUNDS_MS and above; [24], sums to 1.

    `speed`: this node's latency in multiples of the usual one.
    """
    middle = math.log(behaviour.latency_ms * speed)
    scale = behaviour.latency_sigma * math.sqrt(2.0)
    below = [0.5 * (1.0 + math.erf((math.log(b) - middle) / scale)) for b in LATENCY_BOUNDS_MS]
    return np.diff(np.array([0.0, *below, 1.0]))


class Traffic:
    """One server's requests."""

    def __init__(self, seed: int, node: str, *, rate: float, speed: float) -> None:
        """`rate`: requests a second; `speed`: see bucket_shares."""
        self._rng = np.random.default_rng([seed, *node.encode()])
        self.rate, self._speed = rate, speed
        self._shares: dict[int, np.ndarray] = {}

    def figures(self, version: int, behaviour: Behaviour, seconds: float) -> Figures | None:
        """What the version did in the last `seconds`, at most the agent's window; None where the
        agent would have none yet."""
        span = round(min(seconds, WINDOW))
        if span < 1:
            return None
        asked = int(self._rng.poisson(self.rate * span)) if self.rate else 0
        failures = int(self._rng.binomial(asked, behaviour.error_rate)) if asked else 0
        requests = asked - failures
        boxes = int(self._rng.poisson(behaviour.boxes * requests)) if requests else 0
        # Confidences of boxes spread by 0.15, so their mean by 0.15 / √boxes.
        mean = behaviour.confidence
        if boxes:
            mean = min(1.0, max(0.0, self._rng.normal(mean, 0.15 / math.sqrt(boxes))))
        return Figures(
            version=version,
            seconds=span,
            requests=requests,
            failures=failures,
            latency=self._latency(version, behaviour, requests) if requests else [],
            queue_micros=int(requests * behaviour.queue_ms * 1000),
            boxes=boxes,
            confidence_millis=int(boxes * mean * 1000),
        )

    def start_shadow(self, version: Assignment) -> ShadowFigures:
        """A shadow that has answered nothing yet."""
        return ShadowFigures(
            model_version=version.model_version,
            version=version.version,
            digest=version.digest,
            manifest_digest=version.manifest_digest,
        )

    def shadow(
        self,
        before: ShadowFigures,
        share: float,
        seconds: float,
        *,
        stable: Behaviour,
        candidate: Behaviour,
    ) -> ShadowFigures:
        """The comparison after `seconds` more of copies."""
        rng = self._rng
        asked = int(rng.poisson(self.rate * share * seconds)) if self.rate else 0
        failures = int(rng.binomial(asked, candidate.error_rate)) if asked else 0
        images = asked - failures
        boxes = int(rng.poisson(stable.boxes * images)) if images else 0
        matched = int(rng.binomial(boxes, candidate.agreement)) if boxes else 0
        more = self._latency(before.version, candidate, images) if images else []
        latency = _added(before.latency, more)
        return before.model_copy(
            update={
                "images": before.images + images,
                "failures": before.failures + failures,
                "stable_boxes": before.stable_boxes + boxes,
                "shadow_boxes": before.shadow_boxes + boxes,
                "matched": before.matched + matched,
                "latency": latency,
            }
        )

    def loaded(self, version: LoadedVersion | None) -> None:
        """Another version answers: forget what is known of others."""
        keep = version.version if version else None
        self._shares = {k: v for k, v in self._shares.items() if k == keep}

    def _latency(self, version: int, behaviour: Behaviour, requests: int) -> list[int]:
        shares = self._shares.get(version)
        if shares is None:
            shares = self._shares[version] = bucket_shares(behaviour, self._speed)
        return [int(n) for n in self._rng.multinomial(requests, shares)]


def _added(before: list[int], more: list[int]) -> list[int]:
    if not before or not more:
        return before or more
    return [a + b for a, b in zip(before, more, strict=True)]
