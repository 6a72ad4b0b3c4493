"""Serving pods as a Gateway sees them: HTTP and gRPC servers that say which version answers, and
what the endpoint controller would make of their labels."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import grpc

METHOD = "/inference.GRPCInferenceService/ModelInfer"


def own_address() -> str:
    """This machine's address: EndpointSlices refuse the loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # Sends nothing.
        return str(probe.getsockname()[0])


class Request(NamedTuple):
    """What a server was asked to answer."""

    number: str
    """Header or metadata x-request."""
    content: bytes


class Pod:
    """A server whose version can be swapped while it answers."""

    def __init__(self, name: str, version: str, *, ports: Mapping[str, int] | None = None) -> None:
        """Listens on `ports` (http and grpc), or on any that are free."""
        wanted = ports or {"http": 0, "grpc": 0}
        self.name = name
        self.version = version
        self.answered = 0
        self.heard: list[Request] = []
        """What it was asked, in the order in which that arrived."""
        self.ending = False
        """Whether it refuses what it is asked, as Triton does when it has unloaded its models."""
        self.failing = False
        """Whether what it is asked ends in an error."""
        self.free = threading.Event()
        """Cleared while it keeps everybody waiting."""
        self.free.set()
        pod = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say({})

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                version = pod.answer(self.headers.get("x-request", ""), content)
                self._say({"model_version": version}, 500 if pod.failing else 200)

            def _say(self, answer: dict[str, Any], code: int = 200) -> None:
                body = json.dumps(answer).encode()
                self.send_response(503 if pod.ending else code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._http = ThreadingHTTPServer(("0.0.0.0", wanted["http"]), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._grpc = grpc.server(ThreadPoolExecutor(4))

        def infer(content: bytes, context: grpc.ServicerContext) -> bytes:
            if pod.ending:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            metadata = dict(context.invocation_metadata())
            version = pod.answer(str(metadata.get("x-request", "")), content)
            if pod.failing:
                context.abort(grpc.StatusCode.INTERNAL, "the model fails")
            return version.encode()

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

    def answer(self, number: str = "", content: bytes = b"") -> str:
        """The version that answers, once the server is free to."""
        self.heard.append(Request(number, content))
        self.free.wait()
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
        self.free.set()
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
