"""Loads and unloads the models of a generation while another one serves.

    write    its models go into the repository
    load     Triton loads them
    warm-up  a synthetic image goes through them, before any user's request

The stable names stay unchanged here: `switch.py` changes them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from modelyard.contract.manifest import ArtifactManifest
from modelyard.serving import config as configs
from modelyard.serving.names import Generation, parse_model
from modelyard.serving.repository import ArtifactMismatchError, Repository
from modelyard.serving.settings import ServingSettings
from modelyard.serving.triton import InferenceError, Triton, TritonError, TritonUnavailableError
from modelyard.serving.warmup import grey_png

logger = logging.getLogger(__name__)

Stage = Literal["write", "load", "warm-up", "switch"]

POLL_SECONDS = 0.05
_PAUSE_FACTOR = 1.0
"""Pause after loading a step, as a multiple of its load time."""
_MAX_PAUSE_SECONDS = 3.0
_MAX_REASON = 700


class SwitchError(Exception):
    """A version could not be loaded; the previous one still serves.

    `stage` is the step that failed, `version` the version that was tried, `serving` the version
    that serves (None if none did before).
    """

    def __init__(self, stage: Stage, version: int, serving: int | None, reason: str) -> None:
        rest = f"version {serving} keeps serving" if serving else "nothing is served"
        super().__init__(f"version {version} failed to {_VERBS[stage]}: {reason} ({rest})")
        self.stage = stage
        self.version = version
        self.serving = serving
        self.reason = reason


_VERBS: dict[Stage, str] = {
    "write": "be prepared",
    "load": "load",
    "warm-up": "answer a test image",
    "switch": "take over",
}


class Loading:
    """Generations of one model line on one Triton."""

    def __init__(self, repository: Repository, triton: Triton, *, unload_timeout: float) -> None:
        """`unload_timeout`: seconds to wait for requests of a generation that is unloaded."""
        self._repository = repository
        self._triton = triton
        self._unload_timeout = unload_timeout

    async def write(
        self,
        generation: Generation,
        manifest: ArtifactManifest,
        settings: ServingSettings,
        model_file: Path,
        serving: int | None,
    ) -> None:
        """Write its models into the repository. Raises SwitchError."""
        try:
            await asyncio.to_thread(
                self._repository.write, generation, manifest, model_file, settings
            )
        except (configs.UnservableError, ArtifactMismatchError, OSError) as error:
            await self.discard(generation)
            raise SwitchError("write", generation.version, serving, str(error)) from error

    async def load(self, generation: Generation, serving: int | None) -> None:
        """Have Triton load its models. Raises SwitchError.

        One after another, and with rests while another version serves: all at once they start a
        process each, which takes requests their CPUs for about a second, and those that come
        meanwhile pile up.
        """
        try:
            for name in self._repository.models(generation):
                started = time.monotonic()
                await self._triton.load(name)
                if serving is not None:
                    spent = time.monotonic() - started
                    await asyncio.sleep(min(_PAUSE_FACTOR * spent, _MAX_PAUSE_SECONDS))
        except TritonUnavailableError:
            raise
        except TritonError as error:
            reason = await self._load_reason(generation) or str(error)
            await self.discard(generation)
            raise SwitchError("load", generation.version, serving, short(reason)) from error

    async def warm_up(
        self,
        generation: Generation,
        manifest: ArtifactManifest,
        settings: ServingSettings,
        serving: int | None,
    ) -> None:
        """Send test images through its pipeline. Raises SwitchError."""
        image = grey_png(*manifest.imgsz)
        try:
            await self._try_image(generation, image)
            # Every instance, with luck: Triton hands requests to whichever is free.
            tries = 2 * configs.side_by_side(manifest, settings)
            await asyncio.gather(*(self._try_image(generation, image) for _ in range(tries)))
        except InferenceError as error:
            await self.discard(generation)
            raise SwitchError("warm-up", generation.version, serving, short(str(error))) from error

    async def up(self, generation: Generation) -> bool:
        """Whether its pipeline is ready."""
        return await self._triton.model_ready(generation.name)

    async def drop_all_but(self, keep: Iterable[Generation]) -> None:
        """Unload and remove all others that the repository or Triton still has."""
        known = set(self._repository.generations())
        for state in await self._triton.index():
            generation = parse_model(self._repository.line, state.name)
            if generation is not None and state.occupied:
                known.add(generation)
        for generation in sorted(known.difference(keep)):
            await self.discard(generation)

    async def discard(self, generation: Generation) -> None:
        """Unload a generation and remove it. Models that Triton does not unload in time stay until
        the next call."""
        deadline = time.monotonic() + self._unload_timeout
        requested: set[str] = set()
        while loaded := await self._loaded(generation):
            # The ensemble first: it cannot do without its steps.
            for name in (name for name in generation.models if name in loaded - requested):
                try:
                    await self._triton.unload(name)
                except TritonUnavailableError:
                    raise
                except TritonError as error:
                    logger.warning("unloading %s: %s", name, error)
            requested |= loaded
            if time.monotonic() > deadline:
                logger.warning("%s still holds %s", self._triton.target, ", ".join(sorted(loaded)))
                return
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.to_thread(self._repository.remove, generation)

    async def _try_image(self, generation: Generation, image: bytes) -> None:
        answer = await self._triton.infer_image(generation.name, image, prove=True)
        outputs = answer.outputs
        counts = {name: len(output) for name, output in outputs.items()}
        errors = counts.pop("errors", None)
        wanted = {"boxes", "scores", "classes", "labels", "image"}
        if errors != 1 or set(counts) != wanted or len(set(counts.values())) > 1:
            raise InferenceError(f"the pipeline's outputs do not match one another: {counts}")

    async def _load_reason(self, generation: Generation) -> str:
        """Triton's message for the step that failed; the ensemble's message only nests it."""
        states = {state.name: state for state in await self._triton.index()}
        for name in self._repository.models(generation)[:-1]:
            state = states.get(name)
            if state and state.state == "UNAVAILABLE" and state.reason not in ("", "unloaded"):
                return f"{name.rsplit('-', 1)[1]}: {state.reason}"
        return ""

    async def _loaded(self, generation: Generation) -> set[str]:
        states = await self._triton.index()
        return {s.name for s in states if s.occupied and s.name in generation.models}


def short(text: str) -> str:
    """A text on one line, shortened for a status."""
    text = " ".join(text.split())
    return text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 1] + "…"
