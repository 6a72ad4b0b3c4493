"""Carries out a plan: sends the writes that change something, and only while leading.

reconciler.py calls it with what a controller decided (core/plan.py). The API server's responses go
into the cache at once, so that the next decision sees them before the watch does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
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
from modelyard.kube.events import SentEvents, event_manifest
from modelyard.kube.kinds import KubeKind
from modelyard.kube.status import precondition, status_patch
from modelyard.runtime.children import check_owner, child_kind, is_watched, place
from modelyard.runtime.failures import NotLeading, Outdated
from modelyard.runtime.writelog import WriteLog

log = logging.getLogger(__name__)

CONCURRENT_WRITES = 8
"""Maximum concurrent writes of one reconcile."""

ABORTING_ERRORS = (NotLeading, Unreachable, TooManyRequests, Unauthorized)
"""Errors after which the remaining writes would fail as well."""

STATUS_TRIES = 3
"""Attempts at one status patch while pods write their own fields of the same status."""


class Executor:
    """Writes to the API server and puts its responses into the cache at once."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        *,
        leading: Callable[[], bool],
        put: Callable[[str, Object], object],
        drop: Callable[[str], object],
        instance: str,
    ) -> None:
        self._api = api
        self._cache = cache
        self._leading = leading
        self._put = put
        """Puts an object (kind, object) into the cache and queues what depends on it."""
        self._drop = drop
        """Drops an object (UID) from the cache and queues what depends on it."""
        self._instance = instance
        self._sent_events = SentEvents()
        self._normalized: dict[str, tuple[str, tuple[str, ...]]] = {}
        """Child UID → (hash, differences) that remain after an apply, since the API server
        normalizes these fields."""

    async def run(
        self, controller: Controller, obj: KubeObject, plan: Plan, now: datetime, writes: WriteLog
    ) -> bool:
        """Carry out a plan for an object, in the order that Create and Apply document.

        Returns whether the plan is complete; if not, the object must be reconciled again.
        Raises ApiError, Outdated, NameTaken, NotLeading; the next reconcile decides what remains
        to be done.
        """
        if isinstance(plan, Create):
            await self._confirm_owner(controller, obj, plan.children)
            for manifest in plan.children:
                await self._create(manifest, writes)
            return False
        await self._confirm_owner(controller, obj, (*plan.apply, *plan.apply_unordered))
        for manifest in plan.apply:
            await self._apply(manifest, writes)
        if plan.status_first:
            await self._write_status_and_events(controller, obj, plan, now, writes)
        await self._apply_all(plan.apply_unordered, writes)
        for ref in plan.delete:
            await self._delete(ref, writes)
        if not plan.status_first:
            await self._write_status_and_events(controller, obj, plan, now, writes)
        return True

    async def _write_status_and_events(
        self, controller: Controller, obj: KubeObject, plan: Apply, now: datetime, writes: WriteLog
    ) -> None:
        """Write the status; send the events unless the status was up to date."""
        changed = True
        if plan.status is not None:
            changed = await self.write_status(controller, obj, plan.status, writes)
        if changed:
            await self._send_events(obj, plan.events, now, writes)

    async def write_status(
        self, controller: Controller, obj: KubeObject, status: KubeObject, writes: WriteLog
    ) -> bool:
        """Write the operator's fields of a status; returns whether anything was written."""
        kind = kinds.by_name(controller.kind)
        metadata = obj["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        current: KubeObject | None = self._cache.get(kind.name, namespace, name)
        for _ in range(STATUS_TRIES):
            if current is None or not _same_for_decision(obj, current, controller.pod_owned_fields):
                raise Outdated(f"{kind.kind} {namespace}/{name} changed meanwhile")
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
                self._drop(metadata["uid"])
                return False
            writes.add("status", kind, str(status.get("phase") or ""))
            self._put(kind.name, answer)
            return True
        raise Outdated(f"{kind.kind} {namespace}/{name} keeps changing")

    async def _confirm_owner(
        self, controller: Controller, obj: KubeObject, children: Iterable[KubeObject]
    ) -> None:
        """Read the owner before a deleted child is created again.

        Each kind has its own watch, so the garbage collection of a child may be seen before the
        deletion of its owner. Raises Outdated if the owner is deleted too.
        """
        places = ((child_kind(manifest).name, *place(manifest)) for manifest in children)
        if not any(self._cache.recently_deleted(*one) for one in places):
            return
        kind = kinds.by_name(controller.kind)
        namespace, name = place(obj)
        owner = await self._refresh(kind, namespace, name)
        if owner is None or owner["metadata"]["uid"] != obj["metadata"]["uid"]:
            raise Outdated(f"{kind.kind} {namespace}/{name} has been deleted")
        if owner["metadata"].get("deletionTimestamp"):
            raise Outdated(f"{kind.kind} {namespace}/{name} is being deleted")

    async def _create(self, manifest: KubeObject, writes: WriteLog) -> None:
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
                writes.add("create", kind, name)
                self._put(kind.name, made)
                return
        if existing is not None:
            check_owner(manifest, existing, kind)
        raise Outdated(f"{kind.kind} {namespace}/{name} exists already")

    async def _apply(self, manifest: KubeObject, writes: WriteLog) -> None:
        kind = child_kind(manifest)
        namespace, name = place(manifest)
        wanted = with_hash(manifest)
        live: KubeObject | None = self._cache.get(kind.name, namespace, name)
        if live is None and kind.selector:
            # The watch does not show an object without our labels; apply would take it over.
            live = await self._refresh(kind, namespace, name)
        if live is not None:
            check_owner(manifest, live, kind)
            if self._is_applied(wanted, live):
                return
            if live["metadata"].get("deletionTimestamp"):
                raise Outdated(f"{kind.kind} {namespace}/{name} is being deleted")
        self._must_lead()
        answer = await self._api.apply(kind, wanted)
        writes.add("apply", kind, name)
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
            self._normalized[uid] = (wanted["metadata"]["annotations"][HASH], remaining)
        else:
            self._normalized.pop(uid, None)
        self._put(kind.name, answer)

    async def _apply_all(self, manifests: Sequence[KubeObject], writes: WriteLog) -> None:
        """Apply children concurrently. After an error the others are still applied, unless it is
        one of ABORTING_ERRORS; raises the first error."""
        pending = deque(manifests)
        errors: list[Exception] = []

        async def work() -> None:
            while pending:
                try:
                    await self._apply(pending.popleft(), writes)
                except Exception as error:
                    errors.append(error)
                    if isinstance(error, ABORTING_ERRORS):
                        pending.clear()

        async with asyncio.TaskGroup() as group:
            for _ in range(min(CONCURRENT_WRITES, len(manifests))):
                group.create_task(work())
        if errors:
            raise next((e for e in errors if isinstance(e, NotLeading)), errors[0])

    def _is_applied(self, wanted: Object, live: KubeObject) -> bool:
        metadata = live["metadata"]
        digest = wanted["metadata"]["annotations"][HASH]
        if (metadata.get("annotations") or {}).get(HASH) != digest:
            return False
        found = tuple(differences(wanted, live))
        return not found or self._normalized.get(metadata["uid"]) == (digest, found)

    async def _delete(self, ref: Ref, writes: WriteLog) -> None:
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
            writes.add("delete", kind, ref.name)
        if remaining is not None:
            self._put(kind.name, remaining)
        elif uid is not None:
            self._drop(uid)

    async def _send_events(
        self, obj: KubeObject, events: Sequence[Event], now: datetime, writes: WriteLog
    ) -> None:
        for event in events:
            if not self._sent_events.is_new(obj["metadata"]["uid"], event, now):
                continue
            self._must_lead()
            manifest = event_manifest(obj, event, instance=self._instance, now=now)
            try:
                await self._api.create_event(manifest)
            except ApiError as error:
                # Nothing depends on an event, so a lost one is no reason to reconcile again.
                log.warning("cannot send event %s: %s", event.reason, error)
            else:
                writes.entries.append(f"event {event.reason}")

    async def _refresh(self, kind: KubeKind, namespace: str, name: str) -> KubeObject | None:
        """Read an object from the API server; None if it does not exist.

        It is cached only if its kind's watch shows it: otherwise its deletion would go unnoticed.
        """
        try:
            fresh = await self._api.get(kind, namespace, name)
        except NotFound:
            known = self._cache.get(kind.name, namespace, name)
            if known is not None:
                self._drop(known["metadata"]["uid"])
            return None
        if is_watched(kind, fresh):
            self._put(kind.name, fresh)
        return fresh

    def _must_lead(self) -> None:
        if not self._leading():
            raise NotLeading


def _same_for_decision(seen: KubeObject, current: KubeObject, pod_owned: tuple[str, ...]) -> bool:
    """Whether nothing but fields that pods write has changed since the decision."""
    if seen is current:
        return True
    one, other = seen["metadata"], current["metadata"]
    if one["uid"] != other["uid"] or one.get("generation") != other.get("generation"):
        return False
    return not status_patch(current, seen.get("status") or {}, pod_owned)
