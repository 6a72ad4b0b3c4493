"""Opens a namespace's part of the store: one given by URL, or that of the cluster's operator.

The location comes from the operator's environment, the credentials from the namespace's own Secret;
a store inside the cluster is reached through a port-forward.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from modelyard.cli.errors import CliError, api_errors
from modelyard.cli.kube import Cluster
from modelyard.cli.portforward import forward
from modelyard.contract.run import StoreLocation
from modelyard.store import Store
from modelyard.store.opening import Credentials, Retries

_OPERATOR = "app.kubernetes.io/name=modelyard,app.kubernetes.io/component=operator"
# Interactive use: give up sooner than a pod does.
_RETRIES = Retries(attempts=3, seconds=20)


@contextmanager
def open_store_at(location: StoreLocation) -> Iterator[Store]:
    """Opens a store by its location; credentials come from the environment (AWS_ACCESS_KEY_ID, …).

    Raises StoreError for an unusable URL.
    """
    yield Store.open(location, retries=_RETRIES)


@contextmanager
def open_cluster_store(cluster: Cluster, namespace: str) -> Iterator[Store]:
    """Opens a namespace's part of the store of the cluster's operator, with the credentials that
    jobs in that namespace have.

    A store inside the cluster, such as the chart's, is reached through a port-forward. Raises
    CliError if there is no operator, the namespace is not prepared for workloads, or the store
    cannot be reached from here.
    """
    operators, environment = _operator(cluster)
    prepared = [n for n in environment.get("MODELYARD_NAMESPACES", "").split(",") if n]
    if prepared and namespace not in prepared:
        raise CliError(
            f"namespace {namespace} has no part of the store: name one of {', '.join(prepared)} "
            "with --namespace"
        )
    url = environment.get("MODELYARD_STORE__URL", "")
    location = StoreLocation(
        url=url,
        endpoint=environment.get("MODELYARD_STORE__ENDPOINT") or None,
        region=environment.get("MODELYARD_STORE__REGION") or "us-east-1",
    ).within(namespace)
    if url.startswith("file:"):
        raise CliError(
            f"the store {location.url} is a directory on a volume of the cluster: copy the file "
            "there from a pod that mounts it, or give another store with --store"
        )
    credentials = _credentials(cluster, namespace, environment)
    service = _service_of(location.endpoint)
    if service is None:
        yield Store.open(location, credentials=credentials, retries=_RETRIES)
        return
    host, port = service
    name, _, rest = host.partition(".")
    within = rest.split(".")[0] or operators
    with forward(cluster, within, f"service/{name}", port) as address:
        near = location.model_copy(update={"endpoint": f"http://{address}"})
        yield Store.open(near, credentials=credentials, retries=_RETRIES)


def report_of(cluster: Cluster) -> tuple[str, str]:
    """Namespace and name of the ConfigMap with the collector's report. Raises CliError if there is
    no operator, or no collector."""
    namespace, environment = _operator(cluster)
    name = environment.get("MODELYARD_STORE_REPORT")
    if not name:
        raise CliError(
            "this cluster has no collector: install the chart with store.collector.enabled=true"
        )
    return namespace, name


def _operator(cluster: Cluster) -> tuple[str, Mapping[str, str]]:
    """Namespace and environment of the operator."""
    from kubernetes import client

    with api_errors("looking for the operator", cluster.server):
        found = client.AppsV1Api(cluster.api).list_deployment_for_all_namespaces(
            label_selector=_OPERATOR
        )
    if not found.items:
        raise CliError(
            "there is no Modelyard operator in this cluster: install the chart, or name the store "
            "with --store (and --endpoint)"
        )
    one: Any = found.items[0]
    variables = one.spec.template.spec.containers[0].env or []
    return one.metadata.namespace, {v.name: v.value or "" for v in variables}


def _credentials(
    cluster: Cluster, namespace: str, environment: Mapping[str, str]
) -> Credentials | None:
    """The credentials of jobs in a namespace, from its Secret; None if the operator uses none."""
    from kubernetes.client import ApiException

    secret = environment.get("MODELYARD_STORE_SECRET")
    if not secret:
        return None
    with api_errors(f"reading Secret {secret}", cluster.server):
        try:
            data = cluster.core().read_namespaced_secret(secret, namespace).data or {}
        except ApiException as error:
            if error.status != 404:
                raise
            raise CliError(
                f"there is no Secret {secret} with the store's credentials in namespace {namespace}"
            ) from error
    try:
        return Credentials(
            access_key_id=base64.b64decode(data["AWS_ACCESS_KEY_ID"]).decode(),
            secret_access_key=base64.b64decode(data["AWS_SECRET_ACCESS_KEY"]).decode(),
        )
    except KeyError as error:
        raise CliError(f"Secret {secret} in namespace {namespace} has no {error}") from error


def _service_of(endpoint: str | None) -> tuple[str, int] | None:
    """Host and port of an endpoint that is a Service of the cluster (NAME.NAMESPACE.svc…)."""
    parts = urlsplit(endpoint or "")
    host = parts.hostname or ""
    if parts.scheme == "http" and (host.endswith(".svc") or ".svc." in host):
        return host, parts.port or 80
    return None
