"""Which cluster a demo runs on: the first that works here, or the one that was asked for.

`choose` decides from facts alone; `probe` finds the facts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelyard_local.cluster import machine
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.kind import find_engine, kind_obstacle

KINDS = ("current", "kind", "local")


@dataclass(frozen=True)
class Choice:
    """The chosen kind of cluster, and why those before it were not chosen."""

    kind: str
    reason: str
    skipped: dict[str, str] = field(default_factory=dict)
    """Kind → why not, in the order in which they were looked at."""

    def lines(self) -> list[str]:
        """What the user is shown."""
        return [f"cluster {kind}: skipped, {why}" for kind, why in self.skipped.items()] + [
            f"cluster {self.kind}: chosen, {self.reason}"
        ]


def choose(forced: str, obstacles: Mapping[str, str]) -> Choice:
    """Decides. `forced` is the value of `CLUSTER` (empty: none), `obstacles` says for each kind
    why it cannot be used (empty: it can).

    The user's current cluster is used only when forced: nobody's cluster gets an operator because
    a demo was tried. Raises ClusterError for an unknown kind, a forced kind that cannot be used,
    or when nothing can.
    """
    if forced:
        if forced not in KINDS:
            raise ClusterError(f"CLUSTER={forced} is unknown; use one of {', '.join(KINDS)}")
        if obstacles.get(forced):
            raise ClusterError(
                f"CLUSTER={forced} was asked for, but it cannot be used: {obstacles[forced]}"
            )
        return Choice(forced, f"because of CLUSTER={forced}")
    skipped = {"current": "it is used only when asked for with CLUSTER=current"}
    for kind in KINDS[1:]:
        why_not = obstacles.get(kind, "")
        if not why_not:
            return Choice(kind, "the first that works here", skipped)
        skipped[kind] = why_not
    raise ClusterError(
        "No cluster can be used here:\n"
        + "\n".join(f"  {kind}: {why}" for kind, why in skipped.items())
    )


def probe(forced: str = "") -> dict[str, str]:
    """Check this machine: why each kind cannot be used, empty where it can.

    With `forced`, only that kind is looked at: a probe of kind may pull an image.
    """
    probes = {"current": _current_obstacle, "kind": _kind_obstacle, "local": _local_obstacle}
    return {kind: look() for kind, look in probes.items() if forced in ("", kind)}


def current_kubeconfig() -> Path:
    """The user's kubeconfig: the first file of `KUBECONFIG`, else kubectl's default."""
    given = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(given) if given else Path.home() / ".kube/config"


def _current_obstacle() -> str:
    path = current_kubeconfig()
    return "" if path.is_file() else f"there is no kubeconfig {path}"


def _kind_obstacle() -> str:
    engine = find_engine()
    if isinstance(engine, str):
        return engine
    return kind_obstacle(engine)


def _local_obstacle() -> str:
    try:
        machine.check()
    except ClusterError as error:
        return str(error)
    return ""
