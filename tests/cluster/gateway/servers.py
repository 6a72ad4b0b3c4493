"""Serving pods as a Gateway sees them: HTTP and gRPC servers that say which version answers, and
what the endpoint controller would make of their labels."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

METHOD = "/inference.GRPCInferenceService/ModelInfer"


def own_address() -> str:
    """This machine's address: EndpointSlices refuse the loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # Sends nothing.
        return str(probe.getsockname()[0])


class Pod:
    """A server whose version can be swapped while it answers."""

    def __init__(self, name: str, version: str, *, ports: Mapping[str, int] | None = None) -> None:
        """Listens on `ports` (http and grpc), or on any that are free."""
        wanted = ports or {"http": 0, "grpc": 0}
        self.name = name
        self.version = version
        self.answered = 0
        self.ending = False
        """Whether it refuses what it is asked, as Triton does once it has been told to end."""
        pod = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say({})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self._say({"model_version": pod.answer()})

            def _say(self, answer: dict[str, Any]) -> None:
                body = json.dumps(answer).encode()
                self.send_response(503 if pod.ending else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._http = ThreadingHTTPServer(("0.0.0.0", wanted["http"]), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._grpc = grpc.server(ThreadPoolExecutor(4))

        def infer(_: bytes, context: grpc.ServicerContext) -> bytes:
            if pod.ending:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            return pod.answer().encode()

        handler = grpc.unary_unary_rpc_method_handler(infer)
        service, method = METHOD.strip("/").split("/")
        self._grpc.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        self.ports = {
            "http": self._http.server_address[1],
            "grpc": self._grpc.add_insecure_port(f"0.0.0.0:{wanted['grpc']}"),
        }
        self._grpc.start()

    def answer(self) -> str:
        self.answered += 1
        return self.version

    def drain(self) -> None:
        """Answer what has been accepted, and stop."""
        self._http.shutdown()
        self._http.timeout = 0
        for _ in range(100):
            self._http.handle_request()
        self._http.server_close()
        self._grpc.stop(1).wait()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None)


def endpoint_slice(service: str, pod: Pod, address: str) -> dict[str, Any]:
    """A slice of its own for each pod, since they differ in their ports here."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{pod.name}",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [
            {"name": name, "port": port, "protocol": "TCP"} for name, port in pod.ports.items()
        ],
    }


def matches(selector: Mapping[str, str], carried: Mapping[str, str]) -> bool:
    """Whether a Service's selector finds a pod."""
    return all(carried.get(key) == value for key, value in selector.items())
