"""Keeps sending requests to the servers over HTTP and gRPC, and records every answer.

A swap without downtime is a claim about every single request, so none is sampled or forgotten:
each answer is kept with its time, version and error.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

RECONNECT_EVERY = 25
"""Requests after which a client reconnects: a Service balances connections, not requests."""
PAUSE_SECONDS = 0.05
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """The result of one request."""

    at: float
    """Seconds since the epoch when it was sent."""
    seconds: float
    version: int | None
    """Model version that answered; None if the request failed."""
    error: str | None = None


class Client(Protocol):
    """One connection to a server."""

    def ask(self) -> int:
        """Send the image; the version that answered. Raises whatever the client raises."""

    def close(self) -> None:
        """Close the connection."""


@dataclass
class RequestLoop:
    """Closed loops in threads, one for each connect function: the next request follows the answer
    after a short pause, so that nothing hides behind a slow one."""

    connect: list[Callable[[], Client]]
    answers: list[Answer] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start one thread for each connect function."""
        for number, connect in enumerate(self.connect):
            thread = threading.Thread(target=self._run, args=(connect,), name=f"load-{number}")
            thread.daemon = True
            thread.start()
            self._threads.append(thread)

    def stop(self) -> list[Answer]:
        """Let requests in flight end; returns all answers in the order of sending."""
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS + 5)
        return sorted(self.answers, key=lambda a: a.at)

    def _run(self, connect: Callable[[], Client]) -> None:
        client: Client | None = None
        count = 0
        while not self._stop.is_set():
            sent, begun = time.time(), time.perf_counter()
            try:
                if client is None:
                    client = connect()
                version = client.ask()
                took = time.perf_counter() - begun
                self.answers.append(Answer(sent, took, version))
            except Exception as error:
                took = time.perf_counter() - begun
                text = f"{type(error).__name__}: {error}"
                self.answers.append(Answer(sent, took, None, text[:300]))
                _close(client)
                client = None
            count += 1
            if count % RECONNECT_EVERY == 0:
                _close(client)
                client = None
            self._stop.wait(PAUSE_SECONDS)
        _close(client)


def _close(client: Client | None) -> None:
    if client is not None:
        client.close()


class TritonConnection:
    """A request of one encoded image over tritonclient, HTTP or gRPC (KServe v2 protocol)."""

    def __init__(
        self,
        protocol: str,
        address: str,
        model: str,
        image: bytes,
        seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`protocol` is http or grpc, `address` host:port, `image` an encoded picture; an answer
        may take so many seconds."""
        import tritonclient.grpc
        import tritonclient.http

        module: Any = {"http": tritonclient.http, "grpc": tritonclient.grpc}[protocol]
        self._grpc = protocol == "grpc"
        options: dict[str, Any] = (
            {} if self._grpc else {"network_timeout": seconds, "connection_timeout": seconds}
        )
        self._client = module.InferenceServerClient(address, **options)
        self._model = model
        self._seconds = seconds
        self._input = module.InferInput("IMAGE", [1], "BYTES")
        self._input.set_data_from_numpy(np.array([image], dtype=np.object_))

    def ask(self) -> int:
        """Send the image; the number of the version that answered."""
        options = {"client_timeout": self._seconds} if self._grpc else {}
        result = self._client.infer(self._model, [self._input], **options)
        response = result.get_response()
        text = response.model_version if self._grpc else response["model_version"]
        return int(text)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def figures(answers: list[Answer]) -> dict[str, Any]:
    """What a summary says of answers: counts, and latencies in milliseconds."""
    good = sorted(a.seconds * 1000 for a in answers if a.error is None)
    errors = Counter(a.error for a in answers if a.error is not None)
    versions = Counter(a.version for a in answers if a.version is not None)
    return {
        "sent": len(answers),
        "failed": sum(errors.values()),
        "answeredByVersion": {str(v): n for v, n in sorted(versions.items())},
        "milliseconds": {
            "p50": percentile(good, 50),
            "p95": percentile(good, 95),
            "max": round(good[-1], 1) if good else None,
        },
        "errors": [{"error": text, "count": n} for text, n in errors.most_common(5)],
    }


def percentile(ordered: list[float], percent: float) -> float | None:
    """The nearest-rank percentile of an ascending list; None if it is empty."""
    if not ordered:
        return None
    rank = max(0, int(np.ceil(percent / 100 * len(ordered))) - 1)
    return round(ordered[rank], 1)
