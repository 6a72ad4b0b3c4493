"""Replaces the version that answers by another one, without a gap.

    write    the new generation's models go into the repository, beside what serves
    load     Triton loads them
    warm-up  a synthetic image goes through the new pipeline, off the users' path
    switch   the stable names lead to it: Triton replaces them in milliseconds, and requests
             in flight finish where they started
    unload   what served before is unloaded once its requests are answered, and removed

A failure before the end of `switch` undoes everything: what served keeps serving. Every step
finds out from Triton and the repository where it stands, so a restarted agent or a restarted
Triton converges by the same call.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from modelyard.contract.manifest import ArtifactManifest
from modelyard.serving import config as configs
from modelyard.serving.names import (
    Generation,
    network_name,
    parse_model,
    pipeline_name,
    stable_names,
)
from modelyard.serving.repository import ArtifactMismatchError, Record, Repository
from modelyard.serving.settings import ServingSettings
from modelyard.serving.traffic import TrafficMeter
from modelyard.serving.triton import InferenceError, Triton, TritonError, TritonUnavailableError
from modelyard.serving.warmup import grey_png

logger = logging.getLogger(__name__)

Stage = Literal["write", "load", "warm-up", "switch"]

_POLL_SECONDS = 0.05
_MAX_REASON = 700


class SwitchError(Exception):
    """A version could not be brought up; what served before still serves.

    `stage` says where it failed, `version` what was tried, `serving` what answers (None if
    nothing did before either).
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


@dataclass(frozen=True)
class Serving:
    """What answers under the stable names."""

    generation: Generation
    record: Record | None
    """What it was made of; None if the repository lost it."""


@dataclass(frozen=True)
class Swap:
    """What `ensure` did. Times in seconds; all 0 if nothing had to change."""

    generation: Generation
    previous: int | None
    """Version that answered before."""
    changed: bool
    load_seconds: float = 0.0
    warmup_seconds: float = 0.0
    switch_seconds: float = 0.0
    unload_seconds: float = 0.0
    """Until the last request in flight was answered and the old models were gone."""


class Switcher:
    """Brings one model line on one Triton to wanted versions, one at a time."""

    def __init__(
        self,
        repository: Repository,
        triton: Triton,
        *,
        unload_timeout: float = 60.0,
        settle_seconds: float = 1.0,
    ) -> None:
        """`unload_timeout`: how long to wait for old requests before leaving the rest to the
        next call. `settle_seconds`: pause before unloading when only settings changed, for then
        Triton does not show whether requests that came in before the switch are through."""
        self._repository = repository
        self._triton = triton
        self.traffic = TrafficMeter(triton, repository.line)
        self._unload_timeout = unload_timeout
        self._settle_seconds = settle_seconds
        self._lock = asyncio.Lock()

    @property
    def line(self) -> str:
        """The model line, and the name that clients call."""
        return self._repository.line

    async def serving(self) -> Serving | None:
        """What Triton answers with under the model line's name; None if it does not.

        Raises TritonUnavailableError.
        """
        generation = await self._target_of(pipeline_name(self.line))
        if generation is None or not await self._triton.model_ready(self.line):
            return None
        return Serving(generation, self._repository.record(generation))

    async def recover(self) -> Swap | None:
        """Serves again what the repository says was served; None if there is nothing.

        For a server that starts without its operator, store or network. Raises as `ensure`.
        """
        generation = self._repository.pointed()
        record = self._repository.record(generation) if generation else None
        if generation is None or record is None:
            return None
        async with self._lock:
            return await self._ensure(generation, record.manifest, record.settings, None)

    async def ensure(
        self,
        version: int,
        manifest: ArtifactManifest,
        model_file: Path,
        settings: ServingSettings,
    ) -> Swap:
        """Makes a version answer under the stable names, and drops every other one after it.

        Does nothing if it answers already with these settings. Raises SwitchError if it cannot
        be brought up, and TritonUnavailableError if Triton went away meanwhile: call again.
        """
        async with self._lock:
            generation = self._repository.generation(version, manifest, settings)
            return await self._ensure(generation, manifest, settings, model_file)

    async def _ensure(
        self,
        generation: Generation,
        manifest: ArtifactManifest,
        settings: ServingSettings,
        model_file: Path | None,
    ) -> Swap:
        old = await self.serving()
        previous = old.generation if old else None
        if previous == await self._target_of(network_name(self.line)) == generation:
            await self._drop_others(generation)
            return Swap(generation, generation.version, changed=False)

        serving = previous.version if previous else None
        marks = [time.monotonic()]
        await self._write(generation, manifest, settings, model_file, serving)
        await self._load(generation, serving)
        marks.append(time.monotonic())
        await self._warm_up(generation, manifest, settings, serving)
        marks.append(time.monotonic())
        await self._switch(generation, previous)
        marks.append(time.monotonic())
        await self._drop_others(generation, previous)
        marks.append(time.monotonic())

        load, warmup, switch, unload = (b - a for a, b in pairwise(marks))
        logger.info(
            "%s serves version %d (before: %s): load %.2f s, warm-up %.2f s, switch %.3f s, "
            "unload %.2f s",
            self.line, generation.version, serving, load, warmup, switch, unload,
        )  # fmt: skip
        return Swap(generation, serving, True, load, warmup, switch, unload)

    async def _write(
        self,
        generation: Generation,
        manifest: ArtifactManifest,
        settings: ServingSettings,
        model_file: Path | None,
        serving: int | None,
    ) -> None:
        if model_file is None:
            return
        try:
            await asyncio.to_thread(
                self._repository.write, generation, manifest, model_file, settings
            )
        except (configs.UnservableError, ArtifactMismatchError, OSError) as error:
            await self._discard(generation)
            raise SwitchError("write", generation.version, serving, str(error)) from error

    async def _load(self, generation: Generation, serving: int | None) -> None:
        try:
            await self._triton.load(generation.name)
        except TritonUnavailableError:
            raise
        except TritonError as error:
            reason = await self._load_reason(generation) or str(error)
            await self._discard(generation)
            raise SwitchError("load", generation.version, serving, _short(reason)) from error

    async def _load_reason(self, generation: Generation) -> str:
        """Triton's own words for the step that failed: the ensemble's repeat them nested."""
        states = {state.name: state for state in await self._triton.index()}
        for name in (generation.network, generation.preprocess, generation.postprocess):
            state = states.get(name)
            if state and state.state == "UNAVAILABLE" and state.reason not in ("", "unloaded"):
                return f"{name.rsplit('-', 1)[1]}: {state.reason}"
        return ""

    async def _warm_up(
        self,
        generation: Generation,
        manifest: ArtifactManifest,
        settings: ServingSettings,
        serving: int | None,
    ) -> None:
        image = grey_png(*manifest.imgsz)
        try:
            await self._try_image(generation, image)
            # Every instance, with luck: Triton hands requests to whichever is free.
            await asyncio.gather(
                *(self._try_image(generation, image) for _ in range(2 * settings.instances))
            )
        except InferenceError as error:
            await self._discard(generation)
            raise SwitchError("warm-up", generation.version, serving, _short(str(error))) from error

    async def _try_image(self, generation: Generation, image: bytes) -> None:
        outputs = (await self._triton.infer_image(generation.name, image)).outputs
        counts = {name: len(output) for name, output in outputs.items()}
        if set(counts) != {"boxes", "scores", "classes", "labels"} or len(set(counts.values())) > 1:
            raise InferenceError(f"the pipeline's outputs do not match one another: {counts}")

    async def _switch(self, generation: Generation, previous: Generation | None) -> None:
        await self.traffic.sample()
        try:
            for name in self._repository.point(generation):
                await self._triton.load(name)
            if not await self._triton.model_ready(self.line, str(generation.version)):
                raise TritonError(f"Triton does not answer for version {generation.version}")
        except TritonUnavailableError:
            raise
        except (TritonError, OSError) as error:
            # Without a version to go back to, all stays as it is for the next call.
            if previous is not None and self._repository.record(previous) is not None:
                for name in self._repository.point(previous):
                    await self._triton.load(name)
                await self._discard(generation)
            serving = previous.version if previous else None
            raise SwitchError("switch", generation.version, serving, _short(str(error))) from error

    async def _drop_others(self, keep: Generation, previous: Generation | None = None) -> None:
        self._repository.tidy(keep)
        await self._wait_for_old_stable(keep)
        if previous is not None and previous.version == keep.version:
            await asyncio.sleep(self._settle_seconds)
        known = set(self._repository.generations())
        for state in await self._triton.index():
            generation = parse_model(self.line, state.name)
            if generation is not None and state.occupied:
                known.add(generation)
        for generation in sorted(known - {keep}):
            await self._discard(generation)

    async def _wait_for_old_stable(self, keep: Generation) -> None:
        """Waits until the stable names' old versions hold no request: only then is it certain
        that none will still ask for the steps that they led to."""
        names, wanted = stable_names(self.line), str(keep.version)
        deadline = time.monotonic() + self._unload_timeout
        while time.monotonic() < deadline:
            states = await self._triton.index()
            if not any(s.name in names and s.version != wanted and s.occupied for s in states):
                return
            await asyncio.sleep(_POLL_SECONDS)
        logger.warning(
            "%s: requests to the version before %d are still not answered after %.0f s",
            self.line, keep.version, self._unload_timeout,
        )  # fmt: skip

    async def _discard(self, generation: Generation) -> None:
        """Unloads a generation and removes it. What Triton does not let go of in time stays,
        and is dropped by the next call."""
        deadline = time.monotonic() + self._unload_timeout
        asked: set[str] = set()
        while held := await self._held(generation):
            # The ensemble first: it cannot do without its steps.
            for name in (name for name in generation.models if name in held - asked):
                try:
                    await self._triton.unload(name)
                except TritonUnavailableError:
                    raise
                except TritonError as error:
                    logger.warning("unloading %s: %s", name, error)
            asked |= held
            if time.monotonic() > deadline:
                logger.warning("%s still holds %s", self._triton.target, ", ".join(sorted(held)))
                return
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.to_thread(self._repository.remove, generation)

    async def _held(self, generation: Generation) -> set[str]:
        states = await self._triton.index()
        return {s.name for s in states if s.occupied and s.name in generation.models}

    async def _target_of(self, name: str) -> Generation | None:
        config = await self._triton.config(name)
        return None if config is None else configs.target_of(config, self.line)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 1] + "…"
