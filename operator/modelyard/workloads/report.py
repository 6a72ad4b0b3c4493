"""Reports into the status of a pod's own object through the API server.

Trainers and agents patch one part of one status subresource with their pod's projected token
(https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/). That is one request, so it
is made with the standard library: importing a Kubernetes client costs a pod 0.7 CPU seconds and
25 MB.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote, urlencode

from modelyard.api.base import GROUP, VERSION

log = logging.getLogger("modelyard.report")

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS = 10.0
MAX_BACKOFF_SECONDS = 30.0


class ReportError(Exception):
    """The API server did not take a report."""


@dataclass(frozen=True)
class Target:
    """The object that is reported on."""

    plural: str
    """`trainingjobs`, `modelservers`."""
    namespace: str
    name: str
    uid: str | None = None
    """If set, an object of the same name that replaced this one is left alone."""


class StatusWriter(Protocol):
    """Where reports go."""

    def merge_status(self, target: Target, status: Mapping[str, Any]) -> None:
        """Merge-patch the status (RFC 7396: null removes a field). Raises ReportError."""


@dataclass(frozen=True)
class InCluster:
    """The API server as a pod sees it."""

    host: str
    port: int
    account: Path = SERVICE_ACCOUNT
    """Directory with `token` and `ca.crt`; both are read for every request, since they rotate."""
    field_manager: str = "modelyard-pod"

    @classmethod
    def from_environment(cls, field_manager: str = "modelyard-pod") -> Self | None:
        """The API server, or None outside a cluster or in a pod without a token."""
        host = os.environ.get("KUBERNETES_SERVICE_HOST")
        if not host or not (SERVICE_ACCOUNT / "token").is_file():
            return None
        port = int(os.environ.get("KUBERNETES_SERVICE_PORT") or 443)
        return cls(host=host, port=port, field_manager=field_manager)

    def merge_status(self, target: Target, status: Mapping[str, Any]) -> None:
        """See StatusWriter."""
        body: dict[str, Any] = {"status": status}
        if target.uid:
            body["metadata"] = {"uid": target.uid}
        path = (
            f"/apis/{GROUP}/{VERSION}/namespaces/{quote(target.namespace)}"
            f"/{target.plural}/{quote(target.name)}/status?"
            + urlencode({"fieldManager": self.field_manager})
        )
        try:
            token = (self.account / "token").read_text(encoding="ascii").strip()
            context = ssl.create_default_context(cafile=str(self.account / "ca.crt"))
            connection = HTTPSConnection(
                self.host, self.port, timeout=TIMEOUT_SECONDS, context=context
            )
            try:
                headers = {
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/merge-patch+json",
                    "Accept": "application/json",
                }
                connection.request("PATCH", path, json.dumps(body), headers)
                response = connection.getresponse()
                answer = response.read()
            finally:
                connection.close()
        except (OSError, HTTPException) as error:
            raise ReportError(f"the API server cannot be reached ({error})") from error
        if response.status >= 300:
            raise ReportError(f"{response.status} {_message(answer)}")


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer[:200].decode(errors="replace")


class StatusReporter:
    """Sends reports from a separate thread: `report` never blocks and never fails.

    Of several reports that come within `interval` seconds only the latest is sent. A report that
    the API server does not take is sent again, with growing pauses, until a newer one replaces it.
    Without a writer, reports are only logged.
    """

    def __init__(
        self, target: Target, writer: StatusWriter | None, *, interval: float = 1.0
    ) -> None:
        self._target = target
        self._writer = writer
        self._interval = interval
        self._changed = threading.Condition()
        self._pending: Mapping[str, Any] | None = None
        self._closing_by: float | None = None
        self._thread: threading.Thread | None = None
        if writer is not None:
            self._thread = threading.Thread(target=self._work, name="report", daemon=True)
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def report(self, status: Mapping[str, Any]) -> None:
        """Have the status merged into the object's."""
        if self._thread is None:
            log.info("%s/%s: %s", self._target.plural, self._target.name, json.dumps(status))
            return
        with self._changed:
            self._pending = status
            self._changed.notify()

    def close(self, timeout: float = 5.0) -> None:
        """Send what is pending, waiting at most `timeout` seconds for it, and stop."""
        if self._thread is None:
            return
        with self._changed:
            self._closing_by = time.monotonic() + timeout
            self._changed.notify()
        self._thread.join(timeout)

    def _work(self) -> None:
        failures = 0
        while True:
            status = self._next()
            if status is None:
                return
            failures = 0 if self._sent(status, failures) else failures + 1
            pause = min(self._interval * 2**failures, MAX_BACKOFF_SECONDS)
            with self._changed:
                if failures and self._pending is None:
                    self._pending = status
                self._changed.wait_for(lambda: self._closing_by is not None, pause)
                if self._closing_by is not None and failures:
                    return

    def _next(self) -> Mapping[str, Any] | None:
        """The report to send; None once there is none and there will be none."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._pending is not None or self._closing_by is not None
            )
            status, self._pending = self._pending, None
            return status

    def _sent(self, status: Mapping[str, Any], failures: int) -> bool:
        assert self._writer is not None
        try:
            self._writer.merge_status(self._target, status)
        except ReportError as error:
            if not failures:
                log.warning(
                    "cannot report on %s %s/%s, will go on trying: %s",
                    self._target.plural, self._target.namespace, self._target.name, error,
                )  # fmt: skip
            return False
        return True
