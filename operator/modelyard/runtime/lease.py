"""A Lease (coordination.k8s.io/v1) for leader election.

The protocol is client-go's: a Lease that has not changed for its duration, by the observer's own
clock, may be acquired by another replica. The holder stops acting well before that. leadership.py
uses it.
https://pkg.go.dev/k8s.io/client-go/tools/leaderelection
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

from modelyard.contract.statustext import micro_timestamp
from modelyard.kube.api import Api, Object
from modelyard.kube.errors import AlreadyExists, Conflict, NotFound
from modelyard.kube.kinds import LEASE
from modelyard.runtime.settings import EngineSettings

VALID_SHARE = 0.75
"""Share of the duration for which a renewal is valid; the rest is the margin between holders."""


def boot_time() -> float:
    """Seconds since boot, including time in which the process or the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """Acquires, renews and releases a Lease. Call `acquire_or_renew` every quarter of `seconds`."""

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        name: str,
        identity: str,
        seconds: float,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self.seconds = seconds
        self._clock = clock
        self._mine: Object | None = None
        self._valid_until = float("-inf")
        self._seen_version = ""
        self._seen_at = 0.0
        self.holder = ""
        """The holder when the Lease was last read."""

    @classmethod
    def of(cls, api: Api, settings: EngineSettings, identity: str) -> Self:
        """The operator's Lease, for the replica of this identity."""
        return cls(
            api,
            namespace=settings.own_namespace(),
            name=settings.lease_name,
            identity=identity,
            seconds=settings.lease_seconds,
        )

    @property
    def held(self) -> bool:
        """Whether this process may act now."""
        return self._clock() < self._valid_until

    @property
    def version(self) -> int:
        """resourceVersion of our last acquisition or renewal: older lists may lack writes of the
        previous holder."""
        return int(self._mine["metadata"]["resourceVersion"]) if self._mine else 0

    async def acquire_or_renew(self) -> bool:
        """Renew the Lease, or acquire it if it is free or has expired.

        Returns whether it is held. Raises ApiError; a held Lease then stays held until it expires.
        """
        started = self._clock()
        if self._mine is not None:
            try:
                return self._acquired(await self._write(self._mine), started)
            except (Conflict, NotFound):
                self._mine = None  # Another replica wrote it.
        try:
            lease = await self._api.get(LEASE, self._namespace, self._name)
        except NotFound:
            lease = {"metadata": {"namespace": self._namespace, "name": self._name}}
        else:
            if not self._free(lease):
                self._valid_until = float("-inf")
                return False
        try:
            return self._acquired(await self._write(lease), started)
        except (Conflict, AlreadyExists):
            self._valid_until = float("-inf")
            return False

    async def release(self) -> None:
        """Release the Lease, so that another replica need not wait for it. Raises ApiError."""
        mine, self._mine = self._mine, None
        self._valid_until = float("-inf")
        if mine is None:
            return
        spec = {**mine["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        with contextlib.suppress(Conflict, NotFound):  # Another replica holds it already.
            await self._api.replace(LEASE, {**mine, "spec": spec})

    def _free(self, lease: Object) -> bool:
        spec = lease.get("spec") or {}
        self.holder = spec.get("holderIdentity") or ""
        if self.holder in ("", self.identity):
            return True
        version = lease["metadata"]["resourceVersion"]
        now = self._clock()
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, now
            return False
        return now - self._seen_at > float(spec.get("leaseDurationSeconds") or self.seconds)

    async def _write(self, lease: Object) -> Object:
        now = micro_timestamp(datetime.now(UTC))
        old = lease.get("spec") or {}
        taken = old.get("holderIdentity") != self.identity
        spec: dict[str, Any] = {
            **old,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self.seconds),
            "renewTime": now,
            "acquireTime": now if taken else old.get("acquireTime", now),
            "leaseTransitions": (old.get("leaseTransitions") or 0) + taken,
        }
        manifest = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": lease["metadata"],
            "spec": spec,
        }
        if "resourceVersion" in lease["metadata"]:
            return await self._api.replace(LEASE, manifest)
        return await self._api.create(LEASE, manifest)

    def _acquired(self, lease: Object, started: float) -> bool:
        lease["metadata"].pop("managedFields", None)
        self._mine = lease
        self.holder = self.identity
        # Counted from before the request, the earliest time at which others can see the renewal.
        self._valid_until = started + self.seconds * VALID_SHARE
        return self.held
