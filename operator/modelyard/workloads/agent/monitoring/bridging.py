"""Carries baselines over a rollout: what was drawn is answered by the shadowed version, too.

A new version scores and counts otherwise, so its baseline is another one, and taking it anew would
leave the server without charts for weeks. While a version is shadowed, each drawn request is
replayed on it; the mean difference of the pairs moves the old baseline (drift/monitor.py: bridge).
Drawn requests are spread over the time of the shadowing, as the copies that the shadow is compared
on are not, so their pairs are those that a later baseline would see.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass

from modelyard.drift.bridging import Pair
from modelyard.drift.observation import Observation
from modelyard.serving.draws import Answer, Draw, Draws
from modelyard.serving.models.drawing import ASKED
from modelyard.serving.names import Generation
from modelyard.serving.triton import InferenceError, Triton, TritonError
from modelyard.workloads.agent.monitoring.figures import Release, again

MOST = 2000
"""Pairs that are kept, of all sources."""
_REPLAY_SECONDS = 30.0
_ANSWER_TRIES, _ANSWER_SECONDS = 50, 0.02


@dataclass(frozen=True)
class Beside:
    """The shadowed version, once it answers."""

    generation: Generation
    release: Release


class Bridge:
    """Pairs of the version that serves and the one that is shadowed."""

    def __init__(self, triton: Triton, draws: Draws) -> None:
        self._triton = triton
        self._draws = draws
        self._about: tuple[str, str, str, str] | None = None
        """Artifact and pipeline of both versions."""
        self._pairs: deque[Pair] = deque(maxlen=MOST)

    async def pair(self, draw: Draw, observed: Observation, beside: Beside) -> None:
        """Adds the shadowed version's answer to a request that was drawn, if there is one."""
        new = beside.release
        about = (observed.artifact, observed.pipeline, new.artifact, new.pipeline)
        if about != self._about:
            self._about = about
            self._pairs.clear()
        try:
            answer = await self._replay(beside.generation, draw.image)
        except (InferenceError, TritonError):
            return  # the Shadower reports it
        if answer is not None:
            self._pairs.append(Pair(observed, again(observed, answer, draw, new)))

    def pairs_for(self, release: Release) -> list[Pair]:
        """All pairs with a release that serves now, once; none for others."""
        if self._about is None or self._about[2:] != (release.artifact, release.pipeline):
            return []
        pairs, self._about = list(self._pairs), None
        self._pairs.clear()
        return pairs

    async def _replay(self, generation: Generation, image: bytes) -> Answer | None:
        token = random.getrandbits(60)
        await self._triton.infer_image(
            generation.name,
            image,
            seconds=_REPLAY_SECONDS,
            prove=True,
            parameters={ASKED: f"{token:x}"},
        )
        for _ in range(_ANSWER_TRIES):
            if (answer := await asyncio.to_thread(self._draws.answer, token)) is not None:
                return answer
            await asyncio.sleep(_ANSWER_SECONDS)
        return None
