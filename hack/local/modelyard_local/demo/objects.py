"""Applies manifests and reads objects of the demo's namespace.

Manifests are applied with kubectl, as a reader of the documentation would; statuses are read
through the Python client, often and cheaply. Who applies what: chain.py.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from modelyard.api.base import API_VERSION, GROUP, VERSION
from modelyard.api.kinds import kind_info
from modelyard_local.cluster import ensure
from modelyard_local.demo.errors import DemoError

POLL_SECONDS = 0.5
Object = dict[str, Any]


@dataclass
class Objects:
    """Our objects in one namespace of one cluster."""

    kubeconfig: Path
    namespace: str
    _api: Any = field(init=False)
    _custom: Any = field(init=False)

    def __post_init__(self) -> None:
        self._api = config.new_client_from_config(str(self.kubeconfig))
        self._custom = client.CustomObjectsApi(self._api)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace; its output. Raises DemoError with its error text."""
        command = [str(ensure("kubectl")), f"--kubeconfig={self.kubeconfig}"]
        done = subprocess.run(
            [*command, f"--namespace={self.namespace}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DemoError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def make_namespace(self) -> None:
        """Create the namespace if it is not there; pods in it must meet Pod Security restricted."""
        body = client.V1Namespace(
            metadata=client.V1ObjectMeta(
                name=self.namespace,
                labels={"pod-security.kubernetes.io/enforce": "restricted"},
            )
        )
        try:
            client.CoreV1Api(self._api).create_namespace(body)
        except ApiException as error:
            if error.status != 409:
                raise

    def core(self) -> Any:
        """The typed core/v1 API, for Services and Secrets."""
        return client.CoreV1Api(self._api)

    def get(self, kind: str, name: str) -> Object | None:
        """One of our objects, or None."""
        try:
            found: Object = self._custom.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, kind_info(kind).plural, name
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

    def list(self, kind: str) -> list[Object]:
        """All objects of one of our kinds."""
        found = self._custom.list_namespaced_custom_object(
            GROUP, VERSION, self.namespace, kind_info(kind).plural
        )
        items: list[Object] = found["items"]
        return items

    def patch_spec(self, kind: str, name: str, spec: Object) -> None:
        """Merge-patch a spec, as a user's `kubectl patch` would."""
        self._custom.patch_namespaced_custom_object(
            GROUP,
            VERSION,
            self.namespace,
            kind_info(kind).plural,
            name,
            {"apiVersion": API_VERSION, "kind": kind, "spec": spec},
        )

    def wait(
        self,
        kind: str,
        name: str,
        *,
        until: Callable[[Object], bool],
        failed: tuple[str, ...] = (),
        describe: Callable[[Object], str],
        live: Callable[[str], None],
        timeout: float,
    ) -> Object:
        """Follow an object until it is as wanted. Raises DemoError when it enters a failed phase,
        or does not get there in `timeout` seconds."""
        deadline = time.monotonic() + timeout
        text = f"waiting for {kind} {name}"
        while time.monotonic() < deadline:
            found = self.get(kind, name)
            if found is not None:
                status = found.get("status") or {}
                current = status.get("observedGeneration") == found["metadata"]["generation"]
                if current and until(found):
                    return found
                if current and status.get("phase") in failed:
                    message = status.get("message", "no reason given")
                    raise DemoError(f"{kind} {name} is {status['phase']}: {message}")
                text = describe(found)
            live(text)
            time.sleep(POLL_SECONDS)
        raise DemoError(f"{kind} {name} did not get there within {timeout:.0f} s; last: {text}")


def phase(found: Object) -> str:
    """Phase of an object, for people."""
    return str((found.get("status") or {}).get("phase") or "Pending")


def message(found: Object) -> str:
    """Phase and message of an object."""
    text = (found.get("status") or {}).get("message") or ""
    return f"{phase(found)}: {text}" if text else phase(found)
