"""Triton's metrics page, played: what a model line's versions count as time goes by.

Names, labels and format are those of a real page (tests/serving/test_scraped.py asks one the same
queries). Counters are a rate times the time since the version is there, so rates are known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from modelyard.api.modelserver import LATENCY_BOUNDS_MS
from modelyard.serving.names import Generation

SOURCES = ("0", "1")
"""Processes of a server's last step; each counts for itself."""
BOXES = 2
"""In each image."""
CONFIDENCE = 0.75


@dataclass(frozen=True)
class Does:
    """What a version does every second."""

    images: float = 50.0
    """Answered images."""
    failures: float = 0.0
    """Failed images."""
    milliseconds: float = 12.0
    """From an image to its boxes."""
    queue_milliseconds: float = 3.0
    """That a request waits for the network."""


class Page:
    """An HTTP server with the page."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, int], tuple[float, Does]] = {}
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = page.text().encode()
                self.send_response(200)
                # Triton's own words: no version of the format.
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Nothing: a line for each scrape helps nobody."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def loads(self, line: str, version: int, does: Does) -> None:
        """A version begins to count; one that is there already goes on."""
        self._versions.setdefault((line, version), (time.monotonic(), does))

    def text(self) -> str:
        """The page as of now."""
        families: dict[str, list[str]] = {}
        for (line, version), (since, does) in tuple(self._versions.items()):
            seconds = time.monotonic() - since
            for name, labels, value in _samples(line, version, does):
                texts = ",".join(f'{key}="{one}"' for key, one in labels.items())
                sample = f"{name}{{{texts}}} {value * seconds:.6f}"
                families.setdefault(name, []).append(sample)
        lines = []
        for name, samples in families.items():
            lines += [f"# HELP {name} {name}", f"# TYPE {name} counter", *samples]
        return "\n".join(lines) + "\n"


def computing(line: str, version: int) -> str:
    """The model that computes a version's network: odd versions are in one step, even ones in
    three."""
    generation = Generation(line, version, "0123abcd")
    return generation.pipeline if version % 2 else generation.network


def models_of(line: str, version: int) -> tuple[str, ...]:
    """The models of a version, each in its layout."""
    made = Generation(line, version, "0123abcd")
    if version % 2:
        return (made.name, made.pipeline)
    return (made.name, made.preprocess, made.network, made.postprocess)


def _samples(line: str, version: int, does: Does) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels, and growth a second."""
    own = {"model": line, "version": str(version)}
    images = does.images / len(SOURCES)
    boxes = images * BOXES
    for source in SOURCES:
        labels = {**own, "source": f"{line}-postprocess_{source}"}
        yield "modelyard_images_total", labels, images
        yield "modelyard_detections_total", {"class": "bottle", **labels}, boxes
        for bound in (*LATENCY_BOUNDS_MS, "+Inf"):
            # Buckets that nothing ever fell into, nor into a lower one, are not on the page.
            if bound == "+Inf" or does.milliseconds <= float(bound):
                yield "modelyard_latency_bucket", {"le": str(bound), **labels}, images
        yield "modelyard_latency_sum", labels, images * does.milliseconds
        yield "modelyard_latency_count", labels, images
        for bound in ("0.8", "0.9", "+Inf"):
            yield "modelyard_confidence_bucket", {"le": bound, **labels}, boxes
        yield "modelyard_confidence_sum", labels, boxes * CONFIDENCE
        yield "modelyard_confidence_count", labels, boxes
        yield "modelyard_box_area_ratio_sum", labels, boxes * 0.1
    yield "modelyard_failures_total", {**own, "source": f"{line}-preprocess_0"}, does.failures
    # Of an ensemble Triton says `version="1"`, whatever it is.
    for model in (line, *models_of(line, version)):
        labels = {"model": model, "version": "1"}
        yield "nv_inference_request_success", labels, does.images
        waited = does.images * does.queue_milliseconds * 1000
        computes = model == computing(line, version)
        yield "nv_inference_queue_duration_us", labels, waited if computes else 0.0
