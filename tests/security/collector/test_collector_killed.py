"""The collector's process killed with SIGKILL between mark, fence and sweep, while somebody
publishes what it is deleting: nothing that an object needs is lost, and the next run does the rest.

Every request of a run, with its publishers: tests/workloads/store/test_collector_faults.py. Here
process, account, API server and the store's files are real; played is the time for which a
publisher waits for a sweep whose collector is dead.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import pytest

from modelyard.contract.paths import COLLECTOR_STATE, SWEEPS, blob_key
from modelyard.store.fences import FENCE_SECONDS, Fences

from ...cluster.conftest import thing
from ...kinds import example
from .conftest import SPACE, Yard

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("security-collector")]

WASTE = 150
PUBLISHED = 20


def marked(yard: Yard, before: float) -> bool:
    """It has said what it found unneeded."""
    return (yard.folder / COLLECTOR_STATE).stat().st_mtime_ns != before


def fenced(yard: Yard, _before: float) -> bool:
    """It may begin to delete."""
    with contextlib.suppress(FileNotFoundError):
        return any((yard.folder / SWEEPS).iterdir())
    return False


def sweeping(yard: Yard, _before: float) -> bool:
    """It has deleted something."""
    return len(list((yard.folder / "blobs").rglob("*"))) < yard.stored


@pytest.mark.parametrize("moment", [marked, fenced, sweeping])
def test_it_is_killed_while_somebody_publishes(
    yard: Yard, moment: Callable[[Yard, float], bool]
) -> None:
    contents = [f"{moment.__name__} {number}".encode() for number in range(WASTE)]
    waste = [yard.put(content) for content in contents]
    yard.collect()
    yard.pretend(days=8)
    before = (yard.folder / COLLECTOR_STATE).stat().st_mtime_ns
    yard.stored = len(list((yard.folder / "blobs").rglob("*")))
    killed = threading.Event()
    published: list[str] = []

    def publish() -> None:
        """As a data pod: blobs, then the object that names them."""
        passed = [0.0]

        def sleep(seconds: float) -> None:
            time.sleep(0.001)
            passed[0] += FENCE_SECONDS if killed.is_set() else 0.0

        store = yard.publisher()
        store.fences = Fences(store.fences.sweeps, clock=lambda: passed[0], sleep=sleep)
        published.extend(store.put_bytes(content) for content in contents[-PUBLISHED:])

    publisher = threading.Thread(target=publish)
    with yard.start(MODELYARD_COLLECTOR_DELETE="true") as collector:
        while not moment(yard, before) and collector.poll() is None:
            pass
        publisher.start()
        collector.kill()
    killed.set()
    publisher.join(60)
    assert len(published) == PUBLISHED
    name, spec = example("ModelVersion", f"killed-{moment.__name__}")
    spec["weights"] = {"digest": published[0]}
    yard.cluster.create(thing("ModelVersion", name, SPACE, spec))
    needed = [
        {
            "name": f"a{number}",
            "format": "onnx",
            "digest": digest,
            "manifestDigest": digest,
            "sizeBytes": 1,
        }
        for number, digest in enumerate(published[:16])
    ]
    yard.cluster.set_status("mv", SPACE, name, {"artifacts": needed})

    code, report = yard.collect(MODELYARD_COLLECTOR_DELETE="true")
    assert (code, report["namespaces"][0]["problem"]) == (0, "")
    for digest in published:
        assert yard.store.intact(digest), "young, or named by an object"
    yard.pretend(days=8)
    yard.collect(MODELYARD_COLLECTOR_DELETE="true")
    for digest in published[:16]:
        assert yard.store.intact(digest)
    left = [digest for digest in waste[:-PUBLISHED] if (yard.folder / blob_key(digest)).exists()]
    assert left == [], "what the killed run had begun is done"
