"""Replaces the serving version with another one, without downtime.

    write    the new generation's models go into the repository, next to the serving ones
    load     Triton loads them
    warm-up  a synthetic image goes through the new pipeline, before any user's request
    switch   the stable names point to it: Triton replaces them in milliseconds, and requests
             in flight finish where they started
    unload   the old generation is unloaded once its requests are answered, and removed

A failure before the end of `switch` undoes everything, and the old version keeps serving. Every
step reads the current state from Triton and the repository, so a restarted agent or a restarted
Triton converges by the same call.

`prepare` goes up to the warm-up only. The prepared version answers under its generation's
own name, and stays loaded until `ensure` switches to it or `release` unloads it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from modelyard.contract.manifest import ArtifactManifest
from modelyard.serving import config as configs
from modelyard.serving.loading import POLL_SECONDS, Loading, SwitchError, short
from modelyard.serving.names import Generation, network_name, pipeline_name, stable_names
from modelyard.serving.repository import Record, Repository
from modelyard.serving.settings import ServingSettings
from modelyard.serving.triton import Triton, TritonError, TritonUnavailableError

logger = logging.getLogger(__name__)

__all__ = ["Serving", "Swap", "SwitchError", "Switcher"]


@dataclass(frozen=True)
class Serving:
    """The generation that serves under the stable names."""

    generation: Generation
    record: Record | None
    """Its inputs; None if the repository lost the record."""


@dataclass(frozen=True)
class Swap:
    """Result of `ensure`. Times in seconds; all 0 if nothing had to change."""

    generation: Generation
    previous: int | None
    """Version that served before."""
    changed: bool
    load_seconds: float = 0.0
    warmup_seconds: float = 0.0
    switch_seconds: float = 0.0
    unload_seconds: float = 0.0
    """Until the last request in flight was answered and the old models were gone."""


class Switcher:
    """Switches one model line on one Triton to other versions, one switch at a time."""

    def __init__(
        self,
        repository: Repository,
        triton: Triton,
        *,
        unload_timeout: float = 60.0,
        settle_seconds: float = 1.0,
        before_switch: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`unload_timeout`: how long to wait for old requests before leaving the rest to the
        next call. `settle_seconds`: pause before unloading when only settings changed, for then
        Triton does not show whether requests that came in before the switch are through.
        `before_switch` is called right before another version answers: the counters of the one
        before go with it."""
        self._repository = repository
        self._triton = triton
        self._loading = Loading(repository, triton, unload_timeout=unload_timeout)
        self._unload_timeout = unload_timeout
        self._settle_seconds = settle_seconds
        self._before_switch = before_switch
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

    @property
    def prepared(self) -> Generation | None:
        """The generation that `prepare` loaded and that is not serving yet, as recorded in the
        repository; None if there is none. A restarted Triton has not loaded it: call `prepare`
        again."""
        prepared = self._repository.prepared()
        return None if prepared == self._repository.pointed() else prepared

    async def prepare(
        self,
        version: int,
        manifest: ArtifactManifest,
        model_file: Path,
        settings: ServingSettings,
    ) -> Generation:
        """Load a version in addition to the serving one, in place of any other prepared one. It
        answers under its generation's name.

        Does nothing if it is loaded or serving already. Raises as `ensure`.
        """
        async with self._lock:
            generation = self._repository.generation(version, manifest, settings)
            if generation == self._repository.pointed():
                await self._release()
                return generation
            if generation == self.prepared and await self._loading.up(generation):
                return generation
            await self._release(keep=generation)
            old = await self.serving()
            serving = old.generation.version if old else None
            await self._load(generation, manifest, settings, model_file, serving)
            # Only now: a generation that failed to load must not be kept.
            self._repository.prepare(generation)
            return generation

    async def release(self) -> None:
        """Unload the prepared version, unless it serves. Raises TritonUnavailableError."""
        async with self._lock:
            await self._release()

    async def _release(self, keep: Generation | None = None) -> None:
        prepared = self.prepared
        # The mark first: if the agent dies in between, `ensure` removes the models.
        self._repository.prepare(None)
        if prepared is not None and prepared != keep:
            await self._loading.discard(prepared)

    async def recover(self) -> Swap | None:
        """Serve again the version that the repository records as serving; None if there is none.

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
        """Make a version serve under the stable names, then unload every other one.

        Does nothing if it serves already with these settings. Raises SwitchError if it cannot be
        loaded, and TritonUnavailableError if Triton became unavailable meanwhile: call again.
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
        load = warmup = 0.0
        if generation != self.prepared or not await self._loading.up(generation):
            load, warmup = await self._load(generation, manifest, settings, model_file, serving)
        marks = [time.monotonic()]
        await self._switch(generation, previous)
        marks.append(time.monotonic())
        await self._drop_others(generation, previous)
        marks.append(time.monotonic())

        switch, unload = (b - a for a, b in pairwise(marks))
        logger.info(
            "%s serves version %d (before: %s): load %.2f s, warm-up %.2f s, switch %.3f s, "
            "unload %.2f s",
            self.line, generation.version, serving, load, warmup, switch, unload,
        )  # fmt: skip
        return Swap(generation, serving, True, load, warmup, switch, unload)

    async def _load(
        self,
        generation: Generation,
        manifest: ArtifactManifest,
        settings: ServingSettings,
        model_file: Path | None,
        serving: int | None,
    ) -> tuple[float, float]:
        """Brings a generation up; returns the seconds of its load and of its warm-up."""
        marks = [time.monotonic()]
        if model_file is not None:
            await self._loading.write(generation, manifest, settings, model_file, serving)
        await self._loading.load(generation, serving)
        marks.append(time.monotonic())
        await self._loading.warm_up(generation, manifest, settings, serving)
        marks.append(time.monotonic())
        return marks[1] - marks[0], marks[2] - marks[1]

    async def _switch(self, generation: Generation, previous: Generation | None) -> None:
        try:
            for name in self._repository.point(generation):
                if name == pipeline_name(self.line) and self._before_switch is not None:
                    await self._before_switch()
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
                await self._loading.discard(generation)
            serving = previous.version if previous else None
            raise SwitchError("switch", generation.version, serving, short(str(error))) from error

    async def _drop_others(self, keep: Generation, previous: Generation | None = None) -> None:
        self._repository.tidy(keep)
        await self._wait_for_old_stable(keep)
        if previous is not None and previous.version == keep.version:
            await asyncio.sleep(self._settle_seconds)
        prepared = self.prepared
        if prepared is None:
            self._repository.prepare(None)
        await self._loading.drop_all_but({keep} if prepared is None else {keep, prepared})

    async def _wait_for_old_stable(self, keep: Generation) -> None:
        """Waits until the stable names' old versions hold no request: only then is it certain
        that none will still ask for the steps that they led to."""
        names, wanted = stable_names(self.line), str(keep.version)
        deadline = time.monotonic() + self._unload_timeout
        while time.monotonic() < deadline:
            states = await self._triton.index()
            if not any(s.name in names and s.version != wanted and s.occupied for s in states):
                return
            await asyncio.sleep(POLL_SECONDS)
        logger.warning(
            "%s: requests to the version before %d are still not answered after %.0f s",
            self.line, keep.version, self._unload_timeout,
        )  # fmt: skip

    async def _target_of(self, name: str) -> Generation | None:
        config = await self._triton.config(name)
        return None if config is None else configs.target_of(config, self.line)
