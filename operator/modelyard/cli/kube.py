"""A cluster as the command line sees it: our kinds as plain dicts, through a kubeconfig."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.api import kind_info
from modelyard.api.base import GROUP, VERSION
from modelyard.cli.errors import CliError, one_line, told

if TYPE_CHECKING:
    from kubernetes import client

Object = dict[str, Any]
_DEFAULT_KUBECONFIG = "~/.kube/config"
_FIELD_MANAGER = "modelyard-cli"


class NotSelectable(CliError):
    """The cluster cannot select objects by these fields."""


class Cluster:
    """A connection. Every method raises CliError where the cluster cannot be reached or refuses."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        """Use `connect`. `namespace` is meant where the user names none."""
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
        """Objects of one of our kinds; namespace None means all of them.

        `labels` and `fields` are selectors, `limit` the most objects. Raises NotSelectable where
        the cluster cannot select by these fields.
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
        """As `objects`, and where the next page begins; empty after the last one."""
        api, plural = self._custom(), kind_info(kind).plural
        given = {"label_selector": labels, "field_selector": fields, "_continue": after}
        wanted: dict[str, Any] = {key: value for key, value in given.items() if value}
        if limit is not None:
            wanted["limit"] = limit
        with told(f"reading {plural}", self.server), _not_installed(kind), _not_selectable(fields):
            if namespace is None:
                found: Any = api.list_cluster_custom_object(GROUP, VERSION, plural, **wanted)
            else:
                found = api.list_namespaced_custom_object(
                    GROUP, VERSION, namespace, plural, **wanted
                )
        items = [dict(item) for item in found["items"]]
        return items, str((found.get("metadata") or {}).get("continue") or "")

    def get(self, kind: str, namespace: str, name: str) -> Object:
        """An object of one of our kinds. Raises CliError, also where there is none."""
        api, plural = self._custom(), kind_info(kind).plural
        with told(f"reading {kind} {name}", self.server), _not_found(kind, namespace, name):
            found: Any = api.get_namespaced_custom_object(GROUP, VERSION, namespace, plural, name)
            return dict(found)

    def annotate(
        self, kind: str, namespace: str, name: str, annotations: Mapping[str, str]
    ) -> None:
        """Sets annotations of an object and leaves everything else alone."""
        api, plural = self._custom(), kind_info(kind).plural
        patch = {"metadata": {"annotations": dict(annotations)}}
        with told(f"annotating {kind} {name}", self.server), _not_found(kind, namespace, name):
            api.patch_namespaced_custom_object(
                GROUP, VERSION, namespace, plural, name, patch, field_manager=_FIELD_MANAGER
            )

    def _custom(self) -> client.CustomObjectsApi:
        from kubernetes import client

        return client.CustomObjectsApi(self.api)


def connect(kubeconfig: Path | None = None, context: str | None = None) -> Cluster:
    """The cluster of a kubeconfig: the given one, else KUBECONFIG's, else ~/.kube/config, else the
    service account of the pod that this runs in. Nothing is sent yet.

    Raises CliError for a kubeconfig that is not there, cannot be read or lacks the context.
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
    # A person waits in front of the terminal; kubectl's default is to wait for ever.
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
    """Raises a CliError of ours where the API server says 404."""

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
    """Tells apart the answer of clusters before Kubernetes 1.31, which know no field selectors for
    our kinds."""
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        if fields and error.status == 400:
            raise NotSelectable(f"this cluster cannot select by {fields}") from error
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
    """An object's status, {} where it has none yet."""
    return dict(obj.get("status") or {})


def name(obj: Mapping[str, Any]) -> str:
    """An object's name."""
    return str(obj["metadata"]["name"])
