"""Runs the collector once on all workload namespaces; exits with 1 if one could not be done."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime

from modelyard.store import Store, StoreError
from modelyard.store.collector import Report, collect
from modelyard.store.opening import Retries
from modelyard.workloads.collect.apiserver import ApiServer
from modelyard.workloads.collect.report import FILE, document
from modelyard.workloads.collect.settings import Settings, read
from modelyard.workloads.errors import WorkloadError
from modelyard.workloads.runner import log_to_stdout

log = logging.getLogger("modelyard.collect")

# A deletion with its retries must be over long before publishers stop waiting (store/fences.py).
_RETRIES = Retries(attempts=2, seconds=20)


def main() -> int:
    """Returns the exit code."""
    log_to_stdout()
    settings = read(os.environ)
    api = ApiServer.from_environment()
    reports = {name: _one(name, settings, api) for name in settings.namespaces}
    api.write_config_map(*settings.report, {FILE: document(reports, settings, datetime.now(UTC))})
    return 1 if any(one.problem for one in reports.values()) else 0


def _one(namespace: str, settings: Settings, api: ApiServer) -> Report:
    """One part; its trouble is not that of the others."""
    try:
        store = Store.open(settings.location.within(namespace), retries=_RETRIES)
        report = collect(store, lambda: api.evidence(namespace), settings.policy)
    except (StoreError, WorkloadError) as error:
        report = Report(problem=str(error))
    if report.problem:
        log.error("namespace %s: %s", namespace, report.problem)
    for digest, needed_by in report.missing:
        log.error("namespace %s: %s, which %s needs, is missing", namespace, digest, needed_by)
    log.info(
        "namespace %s: %d bytes in %d blobs, %d bytes unneeded, %d bytes due, %d bytes deleted",
        namespace, report.bytes, report.blobs, report.unneeded_bytes, report.due_bytes,
        report.deleted_bytes,
    )  # fmt: skip
    if report.uploads_unknown:
        log.warning("namespace %s: unfinished uploads: %s", namespace, report.uploads_unknown)
    elif report.uploads is not None:
        log.info(
            "namespace %s: %d unfinished uploads, %d due, %d aborted",
            namespace, report.uploads, report.uploads_due, report.uploads_aborted,
        )  # fmt: skip
    return report


if __name__ == "__main__":
    sys.exit(main())
