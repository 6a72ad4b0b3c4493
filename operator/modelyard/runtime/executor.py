"""Carries a plan out: each write only if it changes something, and only while leading."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modelyard.core.plan import Apply, Controller, Create, Event, KubeObject, Plan, Ref
from modelyard.kube import kinds
from modelyard.kube.api import Api, Object
from modelyard.kube.apply import HASH, differences, with_hash
from modelyard.kube.cache import Cache
from modelyard.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from modelyard.kube.events import Told, event_manifest
from modelyard.kube.kinds import KubeKind
from modelyard.kube.status import precondition, status_patch
from modelyard.runtime.children import check_owner, child_kind, is_watched, place
from modelyard.runtime.failures import Again, NotLeading

log = logging.getLogger(__name__)

TOLD = 20
"""Writes of one reconcile that the log names."""

AT_ONCE = 8
"""Writes of one reconcile that are under way at the same time."""

POINTLESS = (NotLeading, Unreachable, TooManyRequests, Unauthorized)
"""Errors of one write that the next would meet too."""

STATUS_TRIES = 3
"""Tries of one status patch while pods keep writing their part of the same status."""


@dataclass
class Written:
    """What one reconcile has written, for the log."""

    what: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        """As much of it as fits a line of the log."""
        rest = len(self.what) - TOLD
        return self.what if rest <= 0 else [*self.what[:TOLD], f"and {rest} more"]

    def note(self, verb: str, kind: KubeKind, name: str) -> None:
        """Add a write to the list."""
        self.what.append(f"{verb} {kind.name} {name}")


class Executor:
    """Writes to the API server and puts its answers into the cache at once."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        *,
        leading: Callable[[], bool],
        absorb: Callable[[str, Object], object],
        vanish: Callable[[str], object],
        instance: str,
    ) -> None:
        self._api = api
        self._cache = cache
        self._leading = leading
        self._absorb = absorb
        """Takes an object (kind, object) into the cache and routes the change."""
        self._vanish = vanish
        """Takes an object (UID) out of the cache and routes the change."""
        self._instance = instance
        self._told = Told()
        self._settled: dict[str, tuple[str, tuple[str, ...]]] = {}
        """Child UID → (hash, differences) that stay although it was applied: the API server
        writes these fields in another form."""

    async def run(
        self, controller: Controller, obj: KubeObject, plan: Plan, now: datetime, written: Written
    ) -> bool:
        """Carry out a plan for an object, in the order that Create and Apply document.

        Returns whether that is all; if not, the object must be decided on again at once.
        Raises ApiError, Again, NameTaken, NotLeading; what is left undone is decided anew.
        """
        if isinstance(plan, Create):
            await self._confirm(controller, obj, plan.children)
            for manifest in plan.children:
                await self._create(manifest, written)
            return False
        await self._confirm(controller, obj, (*plan.apply, *plan.apply_unordered))
        for manifest in plan.apply:
            await self._apply(manifest, written)
        if plan.status_first:
            await self._report(controller, obj, plan, now, written)
        await self._apply_all(plan.apply_unordered, written)
        for ref in plan.delete:
            await self._delete(ref, written)
        if not plan.status_first:
            await self._report(controller, obj, plan, now, written)
        return True

    async def _report(
        self, controller: Controller, obj: KubeObject, plan: Apply, now: datetime, written: Written
    ) -> None:
        """Write the status, and send events of what has changed."""
        changed = True
        if plan.status is not None:
            changed = await self.write_status(controller, obj, plan.status, written)
        if changed:
            await self._tell(obj, plan.events, now, written)

    async def write_status(
        self, controller: Controller, obj: KubeObject, status: KubeObject, written: Written
    ) -> bool:
        """Make the operator's part of a status so; returns whether that took a write."""
        kind = kinds.by_name(controller.kind)
        metadata = obj["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        current: KubeObject | None = self._cache.get(kind.name, namespace, name)
        for _ in range(STATUS_TRIES):
            if current is None or not _same_but_reported(obj, current, controller.pod_owned_fields):
                raise Again(f"{kind.kind} {namespace}/{name} changed meanwhile")
            patch = status_patch(current, status, controller.pod_owned_fields)
            if not patch:
                return False
            self._must_lead()
            try:
                answer = await self._api.patch_status(
                    kind, namespace, name, {"metadata": precondition(current), "status": patch}
                )
            except Conflict:
                current = await self._refresh(kind, namespace, name)
                continue
            except NotFound:
                self._vanish(metadata["uid"])
                return False
            written.note("status", kind, str(status.get("phase") or ""))
            self._absorb(kind.name, answer)
            return True
        raise Again(f"{kind.kind} {namespace}/{name} keeps changing")

    async def _confirm(
        self, controller: Controller, obj: KubeObject, children: Iterable[KubeObject]
    ) -> None:
        """Read the owner before a child that has ended is made again.

        Kinds are watched apart from each other: that the garbage collector has taken a child may
        be seen before the end of its owner is. Raises Again if the owner has ended too.
        """
        places = ((child_kind(manifest).name, *place(manifest)) for manifest in children)
        if not any(self._cache.ended(*one) for one in places):
            return
        kind = kinds.by_name(controller.kind)
        namespace, name = place(obj)
        owner = await self._refresh(kind, namespace, name)
        if owner is None or owner["metadata"]["uid"] != obj["metadata"]["uid"]:
            raise Again(f"{kind.kind} {namespace}/{name} has been deleted")
        if owner["metadata"].get("deletionTimestamp"):
            raise Again(f"{kind.kind} {namespace}/{name} is being deleted")

    async def _create(self, manifest: KubeObject, written: Written) -> None:
        kind = child_kind(manifest)
        namespace, name = place(manifest)
        existing = self._cache.get(kind.name, namespace, name)
        if existing is None:
            self._must_lead()
            try:
                made = await self._api.create(kind, manifest)
            except AlreadyExists:
                existing = await self._refresh(kind, namespace, name)
            else:
                written.note("create", kind, name)
                self._absorb(kind.name, made)
                return
        if existing is not None:
            check_owner(manifest, existing, kind)
        raise Again(f"{kind.kind} {namespace}/{name} exists already")

    async def _apply(self, manifest: KubeObject, written: Written) -> None:
        kind = child_kind(manifest)
        namespace, name = place(manifest)
        wanted = with_hash(manifest)
        live: KubeObject | None = self._cache.get(kind.name, namespace, name)
        if live is None and kind.selector:
            # An object that the watch does not show, for want of our labels, would be taken over.
            live = await self._refresh(kind, namespace, name)
        if live is not None:
            check_owner(manifest, live, kind)
            if self._is_applied(wanted, live):
                return
            if live["metadata"].get("deletionTimestamp"):
                raise Again(f"{kind.kind} {namespace}/{name} is being deleted")
        self._must_lead()
        answer = await self._api.apply(kind, wanted)
        written.note("apply", kind, name)
        remaining = tuple(differences(wanted, answer))
        uid = answer["metadata"]["uid"]
        if remaining:
            log.warning(
                "%s %s/%s: the API server writes %s in another form, so a restart applies it again",
                kind.kind,
                namespace,
                name,
                ", ".join(remaining[:5]),
            )
            self._settled[uid] = (wanted["metadata"]["annotations"][HASH], remaining)
        else:
            self._settled.pop(uid, None)
        self._absorb(kind.name, answer)

    async def _apply_all(self, manifests: Sequence[KubeObject], written: Written) -> None:
        """Apply several children at the same time. An error does not keep the others from being
        tried unless it is as pointless for them; raises the first."""
        waiting = deque(manifests)
        errors: list[Exception] = []

        async def work() -> None:
            while waiting:
                try:
                    await self._apply(waiting.popleft(), written)
                except Exception as error:
                    errors.append(error)
                    if isinstance(error, POINTLESS):
                        waiting.clear()

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(manifests))):
                group.create_task(work())
        if errors:
            raise next((e for e in errors if isinstance(e, NotLeading)), errors[0])

    def _is_applied(self, wanted: Object, live: KubeObject) -> bool:
        metadata = live["metadata"]
        digest = wanted["metadata"]["annotations"][HASH]
        if (metadata.get("annotations") or {}).get(HASH) != digest:
            return False
        found = tuple(differences(wanted, live))
        return not found or self._settled.get(metadata["uid"]) == (digest, found)

    async def _delete(self, ref: Ref, written: Written) -> None:
        kind = kinds.by_type(ref.api_version, ref.kind)
        live = self._cache.get(kind.name, ref.namespace, ref.name)
        if live is not None:
            metadata = live["metadata"]
            if ref.uid is not None and metadata["uid"] != ref.uid:
                return
            if metadata.get("deletionTimestamp"):
                return
        uid = ref.uid or (live["metadata"]["uid"] if live is not None else None)
        self._must_lead()
        try:
            remaining = await self._api.delete(kind, ref.namespace, ref.name, uid)
        except (NotFound, Conflict):
            remaining = None
        else:
            written.note("delete", kind, ref.name)
        if remaining is not None:
            self._absorb(kind.name, remaining)
        elif uid is not None:
            self._vanish(uid)

    async def _tell(
        self, obj: KubeObject, events: Sequence[Event], now: datetime, written: Written
    ) -> None:
        for event in events:
            if not self._told.is_news(obj["metadata"]["uid"], event, now):
                continue
            self._must_lead()
            manifest = event_manifest(obj, event, instance=self._instance, now=now)
            try:
                await self._api.create_event(manifest)
            except ApiError as error:
                # Events are news, not state: a lost one is no reason to reconcile again.
                log.warning("cannot send event %s: %s", event.reason, error)
            else:
                written.what.append(f"event {event.reason}")

    async def _refresh(self, kind: KubeKind, namespace: str, name: str) -> KubeObject | None:
        """Read an object from the API server; None if there is none.

        It goes into the cache unless the watch would never tell of its end.
        """
        try:
            fresh = await self._api.get(kind, namespace, name)
        except NotFound:
            known = self._cache.get(kind.name, namespace, name)
            if known is not None:
                self._vanish(known["metadata"]["uid"])
            return None
        if is_watched(kind, fresh):
            self._absorb(kind.name, fresh)
        return fresh

    def _must_lead(self) -> None:
        if not self._leading():
            raise NotLeading


def _same_but_reported(seen: KubeObject, current: KubeObject, reported: tuple[str, ...]) -> bool:
    """Whether only what pods write has changed since a decision saw the object."""
    if seen is current:
        return True
    one, other = seen["metadata"], current["metadata"]
    if one["uid"] != other["uid"] or one.get("generation") != other.get("generation"):
        return False
    return not status_patch(current, seen.get("status") or {}, reported)
