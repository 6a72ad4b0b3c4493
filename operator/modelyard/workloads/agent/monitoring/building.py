"""Puts the parts of monitoring together, for `agent.Agent`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry

from modelyard.drift.observation import Observation
from modelyard.serving.draws import Draw, Draws
from modelyard.serving.switch import Switcher
from modelyard.serving.triton import Triton
from modelyard.workloads.agent.artifacts import ArtifactCache
from modelyard.workloads.agent.monitoring.bridging import Beside, Bridge
from modelyard.workloads.agent.monitoring.clock import Clock
from modelyard.workloads.agent.monitoring.figures import Release
from modelyard.workloads.agent.monitoring.gauges import Gauges
from modelyard.workloads.agent.monitoring.keeping import Keeper
from modelyard.workloads.agent.monitoring.loop import Monitor, Outlets
from modelyard.workloads.agent.monitoring.profiles import Profiles
from modelyard.workloads.agent.monitoring.wish import pipeline_key
from modelyard.workloads.agent.settings import AgentSettings
from modelyard.workloads.agent.shadow import Shadower
from modelyard.workloads.agent.watch import Assigned


def build(
    settings: AgentSettings,
    *,
    triton: Triton,
    switcher: Switcher,
    assigned: Assigned,
    shadower: Shadower,
    artifacts: ArtifactCache,
    registry: CollectorRegistry,
    clock: Clock,
    on_report: Callable[[], None],
    offer: Callable[[Draw, Observation, bool], Awaitable[None]],
) -> Monitor:
    """The agent's monitoring; `offer` gets each observed request, for capture."""
    run = settings.run
    draws = Draws(run.model_line, settings.spool)
    return Monitor(
        draws=draws,
        switcher=switcher,
        assigned=assigned,
        keeper=Keeper(settings.cache, settings.namespace, run.deployment),
        clock=clock,
        outlets=Outlets(on_report, Gauges(registry), offer),
        bridge=Bridge(triton, draws),
        beside=lambda: _beside(shadower),
        profile=Profiles(artifacts.profile, assigned).of,
        persistent=run.durable_cache,
    )


def _beside(shadower: Shadower) -> Beside | None:
    running = shadower.running
    if running is None:
        return None
    version, generation, classes = running
    # Whether it embeds is only told of what serves.
    release = Release(version.digest, pipeline_key(version.pipeline), classes, embeds=True)
    return Beside(generation, release)
