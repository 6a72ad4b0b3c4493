"""Which tests run in one worker, one after the other, to share what is expensive to start.

Most fixtures that start an API server are of the session, and every worker of pytest-xdist is a
session of its own. Tests of one group (`xdist_group`, `--dist loadgroup`) run in one worker: a
folder's control plane is started once instead of once in each worker. Groups are sent to workers
in the order of their cost, so that no long one is left for the end, when the other worker idles.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SECONDS = {
    "fields": 150,
    "gateway": 150,
    "prometheus": 120,
    "scaling": 120,
    "engine": 120,
    "local": 100,
    "kinds": 60,
    "shared": 100,
    "chart": 60,
}
"""Estimates of how long each group takes; only their order matters."""
GROUPS = {"admission": "shared", "cli": "shared"}
"""Folders that use the same control plane, and the name of their group; others are one each."""
OTHERS = 40
"""Seconds that a group takes which is not in SECONDS: fault plans of one workload."""


def share(items: list[pytest.Item], root: Path) -> None:
    """Mark the tests below a folder with their groups, if they have none, and order them."""
    ours = [item for item in items if item.path.is_relative_to(root)]
    cost = {}
    for item in ours:
        mark = item.get_closest_marker("xdist_group")
        name = str(mark.args[0]) if mark else group_of(item.path.relative_to(root))
        if mark is None:
            item.add_marker(pytest.mark.xdist_group(name))
        cost[item] = (-SECONDS.get(name, OTHERS), name)
    ours.sort(key=lambda item: cost[item])
    items[:] = [*ours, *(item for item in items if item not in cost)]


def group_of(path: Path) -> str:
    """The group of a test module; `path` is relative to tests/cluster."""
    folder = path.parts[0] if len(path.parts) > 1 else "local"
    return GROUPS.get(folder, folder)
