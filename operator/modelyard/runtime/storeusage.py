"""The collector's last report as metrics: usage of the store by namespace.

The collector (workloads/collect) is a CronJob, which Prometheus cannot scrape. It writes a
ConfigMap, which the leader reads every minute.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from modelyard.contract.statustext import parse_timestamp
from modelyard.kube.api import Api
from modelyard.kube.errors import ApiError
from modelyard.kube.kinds import by_name
from modelyard.runtime.metrics import Metrics

log = logging.getLogger(__name__)

SECONDS = 60.0
_FILE = "report.json"
_BY_NAMESPACE = (
    ("modelyard_store_bytes", "bytes", "Bytes in a namespace's part of the store."),
    ("modelyard_store_blobs", "blobs", "Blobs in a namespace's part of the store."),
    ("modelyard_store_unneeded_bytes", "unneededBytes", "Bytes that no object needs now."),
    (
        "modelyard_store_due_bytes",
        "dueBytes",
        "Bytes that nothing has needed for the grace period: what the collector deleted last, or, "
        "in a dry run, would have.",
    ),
    (
        "modelyard_store_unfinished_uploads",
        "unfinishedUploads",
        "Multipart uploads that were begun and not ended; no series where the store cannot say.",
    ),
    ("modelyard_store_captures", "captures", "Captured images in a namespace's part of the store."),
    ("modelyard_store_capture_bytes", "captureBytes", "Bytes of captured images."),
    ("modelyard_store_deleted_bytes", "deletedBytes", "Bytes that the collector deleted last."),
    (
        "modelyard_store_missing_blobs",
        "missingBlobs",
        "Blobs that an object needs and that are not in the store.",
    ),
)


class StoreUsage:
    """Reads the report and shows it."""

    def __init__(self, api: Api, namespace: str, name: str | None) -> None:
        """`name` of the ConfigMap; None if there is no collector."""
        self._api = api
        self._namespace = namespace
        self._name = name or ""
        self._report: Mapping[str, Any] = {}
        self._logged = ""

    def register(self, metrics: Metrics) -> None:
        """Add the gauges; without a report they have no series."""
        for name, field, text in _BY_NAMESPACE:
            values = functools.partial(self._values, field)
            metrics.labelled_gauge(name, text, ("object_namespace",), values)
        metrics.labelled_gauge(
            "modelyard_store_used_bytes",
            "Bytes in the parts of all namespaces.",
            (),
            lambda: self._whole("bytes"),
        )
        metrics.labelled_gauge(
            "modelyard_store_capacity_bytes",
            "Size of the embedded store's volume.",
            (),
            lambda: self._whole("capacityBytes"),
        )
        metrics.labelled_gauge(
            "modelyard_store_collected_timestamp_seconds",
            "When the collector last ended, whether or not it could do every namespace.",
            (),
            self._finished,
        )
        metrics.labelled_gauge(
            "modelyard_store_collector_problem",
            "1 for a namespace whose part the collector could not do.",
            ("object_namespace",),
            lambda: [((n,), float(bool(one.get("problem")))) for n, one in self._namespaces()],
        )

    async def run(self) -> None:
        """Read it again and again, until cancelled."""
        try:
            while True:
                await self.read()
                await asyncio.sleep(SECONDS)
        finally:
            self._report = {}  # Another replica shows it from now on.

    async def read(self) -> None:
        """Read it once; what cannot be read keeps the last report."""
        try:
            found = await self._api.get(by_name("ConfigMap"), self._namespace, self._name)
            text = (found.get("data") or {}).get(_FILE)
            self._report = json.loads(text) if text else {}
            self._logged = ""
        except (ApiError, ValueError) as error:
            if str(error) != self._logged:
                log.warning("the store collector's report is not known: %s", error)
            self._logged = str(error)

    def _namespaces(self) -> Iterable[tuple[str, Mapping[str, Any]]]:
        return [(str(one["namespace"]), one) for one in self._report.get("namespaces") or ()]

    def _values(self, field: str) -> list[tuple[tuple[str], float]]:
        found = [(name, one.get(field)) for name, one in self._namespaces()]
        return [((name,), float(value)) for name, value in found if value is not None]

    def _whole(self, field: str) -> list[tuple[tuple[()], float]]:
        value = self._report.get(field)
        return [] if value is None else [((), float(value))]

    def _finished(self) -> list[tuple[tuple[()], float]]:
        text = self._report.get("finishedTime")
        return [((), parse_timestamp(text).timestamp())] if text else []
