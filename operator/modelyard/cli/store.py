"""`modelyard store`: what the store holds, what nothing needs, what is damaged.

`usage` shows the last report of the collector's CronJob; the others look at one namespace's part of
the store themselves (store/collector), with the credentials that its jobs have.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli import options
from modelyard.cli.columns import aligned
from modelyard.cli.errors import UNREACHABLE, CliError, api_errors

if TYPE_CHECKING:
    from modelyard.cli.kube import Cluster
    from modelyard.store import Store
    from modelyard.store.collector import Evidence

app = typer.Typer(
    name="store",
    help="Show what the store holds, remove what no object needs, find damaged blobs.",
    no_args_is_help=True,
)

_GRACE_HOURS = 168
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

StoreUrl = Annotated[
    str | None,
    typer.Option(
        help="URL of the namespace's part of the store; default: that of the cluster's own store."
    ),
]
Endpoint = Annotated[str | None, typer.Option(help="With --store: endpoint of an S3 server.")]


@app.command()
def usage(
    output: Annotated[
        str, typer.Option("--output", "-o", help="table, or json: the whole report.")
    ] = "table",
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Show how much each namespace stores, from the collector's last report."""
    from modelyard.cli.kube import connect

    report = _report(connect(kubeconfig, context))
    if output == "json":
        typer.echo(json.dumps(report, indent=2))
        return
    rows = [
        (
            "NAMESPACE",
            "BLOBS",
            "SIZE",
            "UNNEEDED",
            "DUE",
            "DELETED",
            "MISSING",
            "CAPTURES",
            "PROBLEM",
        )
    ]
    for one in report["namespaces"]:
        sizes = [human(one[f]) for f in ("bytes", "unneededBytes", "dueBytes", "deletedBytes")]
        missing, problem = str(one["missingBlobs"]), one["problem"] or "-"
        images = one.get("captures") or 0
        captures = f"{images} ({human(one.get('captureBytes') or 0)})" if images else "-"
        rows.append((one["namespace"], str(one["blobs"]), *sizes, missing, captures, problem))
    for line in aligned(rows):
        typer.echo(line)
    capacity = report.get("capacityBytes")
    of = f" of {human(capacity)}" if capacity else ""
    mode = " (dry run: nothing was deleted)" if report["dryRun"] else ""
    typer.echo(f"{human(report['bytes'])}{of}, as of {report['finishedTime']}{mode}")


@app.command()
def gc(
    delete: Annotated[bool, typer.Option(help="Delete; otherwise only say what is due.")] = False,
    grace_hours: Annotated[
        int, typer.Option(min=2, help="Hours that nothing must have needed a blob.")
    ] = _GRACE_HOURS,
    store: StoreUrl = None,
    endpoint: Endpoint = None,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Run the collector on one namespace's part of the store.

    A blob is due once no object has needed it for the grace period, counted from the first run that
    saw it so.
    """
    from modelyard.store.collector import Policy, collect

    policy = Policy(grace=timedelta(hours=grace_hours), delete=delete)
    with _opened(store, endpoint, namespace, kubeconfig, context) as (opened, look):
        report = collect(opened, look, policy)
        where = opened.url
    if report.problem:
        raise CliError(report.problem)
    typer.echo(f"{where}: {human(report.bytes)} in {report.blobs} blobs")
    typer.echo(f"not needed by any object: {human(report.unneeded_bytes)}")
    typer.echo(f"for {grace_hours} hours or more: {human(report.due_bytes)} ({report.due} keys)")
    uploads = "not known" if report.uploads is None else str(report.uploads)
    why = report.uploads_unknown or f"{report.uploads_due} of them due"
    typer.echo(f"unfinished uploads: {uploads} ({why})")
    for digest, needed_by in report.missing:
        typer.echo(f"missing: {digest}, which {needed_by} needs", err=True)
    if delete:
        typer.echo(f"deleted: {human(report.deleted_bytes)} ({report.deleted} keys)")
        typer.echo(f"unfinished uploads aborted: {report.uploads_aborted}")
    elif report.due or report.uploads_due:
        typer.echo("nothing was deleted: pass --delete")


@app.command()
def verify(
    store: StoreUrl = None,
    endpoint: Endpoint = None,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Read every blob of a namespace's part of the store and compare it with its digest.

    Exits with 1 if one is damaged or missing.
    """
    from modelyard.store.collector import verify as damages

    found = read = 0

    def count(_entry: object) -> None:
        nonlocal read
        read += 1

    with _opened(store, endpoint, namespace, kubeconfig, context) as (opened, look):
        for one in damages(opened, look(), count):
            found += 1
            what = "missing" if one.size is None else f"damaged ({human(one.size)})"
            by = f", needed by {one.needed_by}" if one.needed_by else ""
            typer.echo(f"{one.digest}: {what}{by}")
        where = opened.url
    if found:
        raise CliError(
            f"{found} blobs in {where} are damaged or missing, {read} were read: make what needs "
            'them again, which stores them anew (docs/operations.md, "A damaged blob")'
        )
    typer.echo(f"{read} blobs in {where} are as their digests say")


@app.command()
def adopt(
    store: StoreUrl = None,
    endpoint: Endpoint = None,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Let this namespace's objects alone say what its part of the store needs.

    For a namespace that was made anew. Never where another cluster uses the same part: its blobs
    would be deleted. The grace period starts anew.
    """
    from modelyard.contract.paths import COLLECTOR_STATE

    with _opened(store, endpoint, namespace, kubeconfig, context) as (opened, _):
        opened.delete_pointer(COLLECTOR_STATE)
        typer.echo(f"the next run of the collector takes {opened.url} over")


def human(size: float) -> str:
    """A number of bytes for people."""
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def _report(cluster: Cluster) -> dict[str, Any]:
    from kubernetes.client import ApiException

    from modelyard.cli import storeaccess

    namespace, name = storeaccess.report_of(cluster)
    with api_errors(f"reading ConfigMap {name}", cluster.server):
        try:
            found = cluster.core().read_namespaced_config_map(name, namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            raise CliError(f"there is no ConfigMap {name} in namespace {namespace}") from error
    text = (found.data or {}).get("report.json")
    if not text:
        raise CliError(
            "the store's collector has not run yet: wait for its schedule, or run it with "
            f"`kubectl create job --from=cronjob/{name} collect-now -n {namespace}`"
        )
    return dict(json.loads(text))


@contextlib.contextmanager
def _opened(
    url: str | None,
    endpoint: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
) -> Iterator[tuple[Store, Any]]:
    """A namespace's part of the store, and a function that takes the evidence of its objects."""
    from modelyard.cli import storeaccess
    from modelyard.cli.kube import connect
    from modelyard.contract.run import StoreLocation
    from modelyard.store import StoreError, StoreUnavailable

    if endpoint and not url:
        raise CliError("--endpoint belongs to --store", 2)
    cluster = connect(kubeconfig, context)
    space = namespace or cluster.namespace
    opening = (
        storeaccess.open_store_at(StoreLocation(url=url, endpoint=endpoint))
        if url
        else storeaccess.open_cluster_store(cluster, space)
    )
    try:
        with opening as opened:
            yield opened, lambda: evidence(cluster, space)
    except StoreError as error:
        code = UNREACHABLE if isinstance(error, StoreUnavailable) else 1
        raise CliError(str(error), code) from error


def evidence(cluster: Cluster, namespace: str) -> Evidence:
    """What the objects of a namespace need. Raises CliError if one kind cannot be listed."""
    from kubernetes import client

    from modelyard.api import ALL_KINDS
    from modelyard.contract.labels import MANAGED_BY, MANAGER
    from modelyard.store.collector import evidence_of

    managed = f"{MANAGED_BY}={MANAGER}"

    def plain(kind: str, items: Any) -> list[Mapping[str, Any]]:
        return [{"kind": kind, **cluster.api.sanitize_for_serialization(one)} for one in items]

    with api_errors(f"reading namespace {namespace}", cluster.server):
        own: Any = cluster.core().read_namespace(namespace)
        jobs = client.BatchV1Api(cluster.api).list_namespaced_job(namespace, label_selector=managed)
        pods = cluster.core().list_namespaced_pod(namespace, label_selector=managed)
    objects = [
        {"kind": info.kind, **one}
        for info in ALL_KINDS
        for one in cluster.objects(info.kind, namespace)
    ]
    return evidence_of(
        {"metadata": {"uid": own.metadata.uid}},
        objects,
        plain("Job", jobs.items),
        plain("Pod", pods.items),
    )
