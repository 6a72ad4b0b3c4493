"""Starts a group of components and waits until all of them are healthy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.probes import Check
from modelyard_local.cluster.processes import Component, Processes
from modelyard_local.cluster.progress import Progress, duration

_INTERVAL = 0.1


def bring_up(
    group: Sequence[Component],
    checks: Mapping[str, Check],
    processes: Processes,
    *,
    timeout: float,
    progress: Progress,
) -> None:
    """Starts what of `group` is not running as described; all at once, as they wait for each other.

    Raises ComponentFailed where one ends or is not healthy after `timeout` seconds.
    """

    def start(component: Component) -> bool:
        started = processes.start(component)
        if started:
            progress(f"{component.name}: started")
        return started

    started = {component.name for component in group if start(component)}
    begun = time.monotonic()
    left = {component.name: component for component in group}
    while left:
        for name, component in list(left.items()):
            reason = checks[name]()
            if not reason:
                del left[name]
            elif processes.running(name) is None:
                # One that was found running may just have been dying: it gets its start.
                if name in started:
                    raise ComponentFailed(name, "ended right after its start", processes)
                start(component)
                started.add(name)
            elif time.monotonic() - begun > timeout:
                waited = duration(time.monotonic() - begun)
                raise ComponentFailed(name, f"is not healthy after {waited}: {reason}", processes)
        if left:
            time.sleep(_INTERVAL)


class ComponentFailed(ClusterError):
    """One component did not come up."""

    def __init__(self, name: str, what: str, processes: Processes) -> None:
        self.component = name
        self.words = processes.last_words(name)
        super().__init__(f"{name} {what}. The end of {processes.log(name)}:\n{self.words}")

    @property
    def port_taken(self) -> bool:
        """Whether it ended because another program listens on its port."""
        return "address already in use" in self.words
