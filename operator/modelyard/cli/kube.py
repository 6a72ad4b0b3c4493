"""Access to a cluster through a kubeconfig: Modelyard's kinds as plain dicts.

Objects are not validated against the models of `api`, so that this client works with clusters whose
CRDs are newer or older.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.api import kind_info
from modelyard.api.base import GROUP, VERSION
from modelyard.cli.errors import CliError, api_errors, one_line

if TYPE_CHECKING:
    from kubernetes import client

Object = dict[str, Any]
_DEFAULT_KUBECONFIG = "~/.kube/config"
_FIELD_MANAGER = "modelyard-cli"


class FieldSelectorUnsupported(CliError):
    """The cluster does not support these field selectors."""


class Cluster:
    """A connection. Every method raises CliError if the cluster cannot be reached or refuses."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        """Use `connect`. `namespace` is the default if the user names none."""
        self.api = api
        self.namespace = namespace

    @property
    def server(self) -> str:
        """The API server's URL, for messages."""
        return str(self.api.configuration.host)

    def core(self) -> client.CoreV1Api:
        """The typed client of core/v1."""
        from kubernetes import client

        return client.CoreV1Api(self.api)

    def objects(
        self,
        kind: str,
        namespace: str | None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int | None = None,
    ) -> list[Object]:
        """Lists objects of one of Modelyard's kinds; namespace None means all namespaces.

        `labels` and `fields` are selectors, `limit` the maximum number of objects.
        Raises FieldSelectorUnsupported if the cluster does not support these field selectors.
        """
        page, _ = self.page(kind, namespace, labels=labels, fields=fields, limit=limit)
        return page

    def page(
        self,
        kind: str,
        namespace: str | None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int | None = None,
        after: str = "",
    ) -> tuple[list[Object], str]:
        """One page of `objects`, and the continue token; empty after the last page."""
        api, plural = self._custom(), kind_info(kind).plural
        given = {"label_selector": labels, "field_selector": fields, "_continue": after}
        wanted: dict[str, Any] = {key: value for key, value in given.items() if value}
        if limit is not None:
            wanted["limit"] = limit
        with (
            api_errors(f"reading {plural}", self.server),
            _not_installed(kind),
            _not_selectable(fields),
        ):
            if namespace is None:
                found: Any = api.list_cluster_custom_object(GROUP, VERSION, plural, **wanted)
            else:
                found = api.list_namespaced_custom_object(
                    GROUP, VERSION, namespace, plural, **wanted
                )
        items = [dict(item) for item in found["items"]]
        return items, str((found.get("metadata") or {}).get("continue") or "")

    def get(self, kind: str, namespace: str, name: str) -> Object:
        """One object. Raises CliError, also if it does not exist."""
        api, plural = self._custom(), kind_info(kind).plural
        with api_errors(f"reading {kind} {name}", self.server), _not_found(kind, namespace, name):
            found: Any = api.get_namespaced_custom_object(GROUP, VERSION, namespace, plural, name)
            return dict(found)

    def annotate(
        self, kind: str, namespace: str, name: str, annotations: Mapping[str, str]
    ) -> None:
        """Sets annotations of an object; a merge patch that changes nothing else."""
        api, plural = self._custom(), kind_info(kind).plural
        patch = {"metadata": {"annotations": dict(annotations)}}
        with (
            api_errors(f"annotating {kind} {name}", self.server),
            _not_found(kind, namespace, name),
        ):
            api.patch_namespaced_custom_object(
                GROUP, VERSION, namespace, plural, name, patch, field_manager=_FIELD_MANAGER
            )

    def _custom(self) -> client.CustomObjectsApi:
        from kubernetes import client

        return client.CustomObjectsApi(self.api)


def connect(kubeconfig: Path | None = None, context: str | None = None) -> Cluster:
    """The cluster of a kubeconfig: the given one, else KUBECONFIG's, else ~/.kube/config, else the
    service account of the pod that this runs in. Sends no request.

    Raises CliError if the kubeconfig does not exist, cannot be read or lacks the context.
    """
    from kubernetes import client, config
    from yaml import YAMLError

    file = str(kubeconfig) if kubeconfig else None
    if file and not Path(file).is_file():
        raise CliError(f"there is no kubeconfig at {file}")
    try:
        if file is None and context is None and _in_pod():
            settings = client.Configuration()
            config.load_incluster_config(client_configuration=settings)
            return Cluster(client.ApiClient(settings), _pod_namespace())
        contexts, active = config.list_kube_config_contexts(config_file=file)
        api = config.new_client_from_config(config_file=file, context=context)
    except config.ConfigException as error:
        raise CliError(_kubeconfig_problem(error, file, context)) from error
    except (OSError, YAMLError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise CliError(
            f"the kubeconfig {file or _searched()} cannot be read: {one_line(error)}"
        ) from error
    # Interactive use: fail soon rather than retry for long.
    api.configuration.retries = 1
    chosen = next((c for c in contexts if c["name"] == context), active)
    return Cluster(api, (chosen.get("context") or {}).get("namespace") or "default")


def _kubeconfig_problem(error: Exception, file: str | None, context: str | None) -> str:
    if context and "context" in str(error).lower():
        return f"the kubeconfig {file or _searched()} has no context {context!r}"
    if file is None and not any(Path(p).expanduser().is_file() for p in _searched().split(":")):
        return (
            f"there is no kubeconfig ({_searched()}): set KUBECONFIG or --kubeconfig, or bring a "
            "cluster up with `modelyard cluster up`"
        )
    return f"the kubeconfig {file or _searched()} cannot be used: {error}"


def _searched() -> str:
    return os.environ.get("KUBECONFIG") or _DEFAULT_KUBECONFIG


def _in_pod() -> bool:
    outside = any(Path(p).expanduser().is_file() for p in _searched().split(":"))
    return not outside and "KUBERNETES_SERVICE_HOST" in os.environ


def _pod_namespace() -> str:
    try:
        return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text().strip()
    except OSError:
        return "default"


class _On404:
    """Converts a 404 of the API server into a CliError with this message."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from kubernetes.client import ApiException

        if isinstance(error, ApiException) and error.status == 404:
            raise CliError(self._message) from error


@contextmanager
def _not_selectable(fields: str) -> Iterator[None]:
    """Converts a 400 for field selectors: before Kubernetes 1.31 custom resources have none."""
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        if fields and error.status == 400:
            raise FieldSelectorUnsupported(
                f"this cluster does not support the field selector {fields}"
            ) from error
        raise


def _not_installed(kind: str) -> _On404:
    return _On404(
        f"this cluster does not know the kind {kind} of {GROUP}: install Modelyard with "
        "`helm install modelyard charts/modelyard -n modelyard-system --create-namespace`"
    )


def _not_found(kind: str, namespace: str, name: str) -> _On404:
    return _On404(
        f"there is no {kind} {name} in namespace {namespace}; "
        f"`kubectl get {kind_info(kind).short} -A` lists them"
    )


def status(obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object's status; {} if it has none yet."""
    return dict(obj.get("status") or {})


def name(obj: Mapping[str, Any]) -> str:
    """An object's name."""
    return str(obj["metadata"]["name"])
