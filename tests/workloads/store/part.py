"""A part of a store, objects that need some of it, and a collector that can be watched and killed.

Real: the store (a directory, or versitygw), publishers and collector with their requests. Played:
the API server, whose lists are `Part.objects`, `jobs` and `pods`; and time, by the age of files.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from modelyard.contract.paths import RUNS, blob_key, checkpoint_key, result_key, weights_key
from modelyard.contract.run import StoreLocation
from modelyard.store import Store, sha256_bytes
from modelyard.store.collector import Evidence, Policy, Report, collect, evidence_of
from modelyard.store.fences import FENCE_SECONDS, Fences
from modelyard.store.keys import Entry, Keys

DAY = timedelta(days=1)
OLD = 30 * DAY
GRACE = 7 * DAY


class Killed(BaseException):
    """SIGKILL: the process ends between two requests, or before an answer arrives."""


class Watched(Keys):
    """Keys whose every request is seen before it is sent and after it is answered."""

    def __init__(self, keys: Keys, hook: Callable[[str, str], None]) -> None:
        super().__init__(keys.client, keys.url)
        self._hook = hook
        self.requests = 0
        self._lock = threading.Lock()

    def _seen(self, what: str, key: str) -> None:
        with self._lock:
            self._hook(what, key)

    def put(self, key: str, content: Any) -> None:
        self._seen("before put", key)
        super().put(key, content)
        self._seen("after put", key)

    def pieces(self, key: str) -> Iterator[Any]:
        self._seen("before get", key)
        yield from super().pieces(key)

    def first_byte(self, entry: Entry) -> bytes:
        self._seen("before peek", entry.key)
        return super().first_byte(entry)

    def entry(self, key: str) -> Entry | None:
        self._seen("before head", key)
        found = super().entry(key)
        self._seen("after head", key)
        return found

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        self._seen("before list", prefix)
        found = list(super().entries(prefix))
        self._seen("after list", prefix)
        yield from found

    def remove(self, key: str) -> None:
        self._seen("before delete", key)
        super().remove(key)
        self._seen("after delete", key)


def nothing(what: str, key: str) -> None:
    """No hook."""


@dataclass
class Part:
    """One namespace's."""

    location: StoreLocation
    folder: Path
    store: Store
    objects: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)
    needed: dict[str, str] = field(default_factory=dict)
    """Digests that must stay, whatever happens, by what they are."""
    waste: dict[str, bytes] = field(default_factory=dict)
    """What nothing needs, by digest."""
    killed: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def in_directory(cls, folder: Path) -> Part:
        return cls._filled(StoreLocation(url=folder.as_uri()), folder)

    @classmethod
    def on_server(cls, server: Any, prefix: str) -> Part:
        return cls._filled(server.location(prefix), server.folder / server.bucket / prefix)

    @classmethod
    def _filled(cls, location: StoreLocation, folder: Path) -> Part:
        made = cls(location, folder, Store.open(location))
        _fill(made)
        return made

    def look(self) -> Evidence:
        return evidence_of(
            {"metadata": {"uid": "namespace-1"}},
            list(self.objects),
            list(self.jobs),
            list(self.pods),
        )

    def put(self, content: bytes, age: timedelta = OLD) -> str:
        digest = self.store.put_bytes(content)
        self.age(blob_key(digest), age)
        return digest

    def pointer(self, key: str, value: dict[str, Any], age: timedelta = OLD) -> None:
        self.store.put_pointer(key, value)
        self.age(key, age)

    def age(self, key: str, age: timedelta) -> None:
        then = time.time() - age.total_seconds()
        os.utime(self.folder / key, (then, then))

    def keep(self, what: str, *digests: str) -> None:
        self.needed |= dict.fromkeys(digests, what)

    def there(self) -> set[str]:
        return {one.key for one in self.store.keys.entries()}

    def collect(
        self,
        *,
        ago: timedelta = timedelta(),
        delete: bool = True,
        hook: Callable[[str, str], None] = nothing,
    ) -> Report:
        """One run, some time ago."""
        store = Store.open(self.location)
        store.keys = Watched(store.keys, hook)
        return collect(
            store,
            self.look,
            Policy(grace=GRACE, delete=delete),
            now=lambda: datetime.now(UTC) - ago,
        )

    def publisher(self, blocked: threading.Event) -> Store:
        """A store as a pod opens it; `blocked` is set while it waits for a sweep. Its time passes
        quickly once the collector is killed."""
        store, passed = Store.open(self.location), [0.0]

        def sleep(seconds: float) -> None:
            blocked.set()
            time.sleep(0.001)
            if self.killed.is_set():
                passed[0] += FENCE_SECONDS

        store.fences = Fences(store.fences.sweeps, clock=lambda: passed[0], sleep=sleep)
        return store

    def check(self) -> None:
        """Nothing that is needed is lost."""
        lost = {what for digest, what in self.needed.items() if not self.store.intact(digest)}
        assert not lost, lost


def thing(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "uid": f"uid-{name}"}, **content}


def job(name: str, age: timedelta, **more: Any) -> dict[str, Any]:
    began = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"kind": "Job", "metadata": {"name": name, "creationTimestamp": began}, **more}


def dataset(part: Part, name: str, age: timedelta = OLD) -> tuple[str, list[str]]:
    """An index and its shards."""
    shards = [part.put(f"{name} shard {i}".encode(), age) for i in range(2)]
    index = json.dumps({"splits": [{"shards": [{"digest": one} for one in shards]}]}).encode()
    return part.put(index, age), shards


def _fill(part: Part) -> None:
    """All that may need a blob, and waste."""
    for role in ("stable", "candidate", "rollback target"):
        artifact = part.put(f"artifact of {role}".encode())
        manifest = part.put(json.dumps({"file": {"digest": artifact}}).encode())
        name = role.replace(" ", "-")
        # The manifest alone is named, to see that what it names stays too.
        part.objects.append(thing("ModelVersion", name, status={"artifacts": [{"m": manifest}]}))
        part.keep(role, artifact, manifest)
    index, shards = dataset(part, "holdout")
    part.objects.append(thing("ModelVersion", "pinned", spec={"dataset": {"digest": index}}))
    part.keep("holdout", index, *shards)

    figures = part.put(b"PK figures of all images")
    text = json.dumps({"format": 1, "profile": figures}).encode()
    profile = {"digest": figures, "summaryDigest": part.put(text)}
    part.objects.append(thing("ModelVersion", "profiled", status={"profile": profile}))
    part.keep("profile", *profile.values())
    figures = part.put(b"PK figures of a version that is gone")
    summary = part.put(json.dumps({"format": 1, "profile": figures}).encode())
    # The version is gone, and a server still compares with its summary.
    served = {"assigned": {"profileDigest": summary}}
    part.objects.append(thing("ModelServer", "cameras-0", spec=served))
    part.keep("profile of what is served", figures, summary)

    last, best = part.put(b"last.pt"), part.put(b"best.pt")
    part.pointer(checkpoint_key("uid-paused"), {"last": last, "best": best})
    part.objects.append(thing("TrainingJob", "paused", status={"phase": "Paused"}))
    part.keep("checkpoint of a paused training", last, best)

    base = part.put(b"base weights")
    run = json.dumps({"baseWeights": {"digest": base}})
    template = {"metadata": {"annotations": {"modelyard.dev/run": run}}}
    part.jobs.append(job("train", 2 * DAY, spec={"template": template}))
    part.keep("input of a Job", base)
    part.keep("shard put by a Job that goes on", part.put(b"first shard", 1.9 * DAY))

    index, shards = dataset(part, "just published")
    message = json.dumps({"reason": "Succeeded", "data": {"digest": index}})
    ended = {"containerStatuses": [{"state": {"terminated": {"message": message}}}]}
    part.pods.append({"kind": "Pod", "metadata": {"name": "data"}, "status": ended})
    part.keep("outcome that the operator has not read", index, *shards)

    mirrored = part.put(b"yolo11n.pt")
    part.pointer(weights_key("yolo11n.pt"), {"digest": mirrored})
    part.keep("mirrored weights", mirrored)
    part.keep("put just now", part.put(b"young", timedelta()))

    for i in range(4):
        content = f"waste {i}".encode()
        part.waste[part.put(content)] = content
    part.pointer(result_key("uid-deleted"), {"weightsDigest": sha256_bytes(b"waste 0")})
    part.store.put_pointer("uploads/users-own.json", {})
    part.age("uploads/users-own.json", OLD)
    assert any(key.startswith(RUNS) for key in part.there())
