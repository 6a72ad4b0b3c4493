"""`modelyard captures` and `modelyard capture`: images that servers kept for labelling.

Listing reads names of files only (contract/capture.py); showing and exporting read the files.
Nothing in them is believed: names are checked before anything is written.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli import options
from modelyard.cli.columns import aligned
from modelyard.cli.errors import UNREACHABLE, CliError
from modelyard.contract.capture import (
    CAPTURES,
    ON_DEMAND_ANNOTATION,
    Captured,
    CaptureFile,
    CaptureReason,
    unpack,
)

if TYPE_CHECKING:
    from modelyard.store import Store

app = typer.Typer(
    name="captures",
    help="List, show and export images that servers captured for labelling.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="Name of the Modelyard Deployment.")]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        help="URL of the namespace's part of the store; default: that of the cluster's own store."
    ),
]
Endpoint = Annotated[str | None, typer.Option(help="With --store: endpoint of an S3 server.")]
Server = Annotated[str | None, typer.Option(help="Only those of this ModelServer.")]
Reasons = Annotated[
    list[CaptureReason] | None, typer.Option("--reason", help="Only those with this reason.")
]
Limit = Annotated[int, typer.Option(min=1, help="Most images, the newest first.")]


@app.command("list")
def list_(
    name: Name,
    server: Server = None,
    store: StoreUrl = None,
    endpoint: Endpoint = None,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Show which server stored how many images, and why they were kept."""
    with _opened(store, endpoint, namespace, kubeconfig, context) as opened:
        files = sorted(_files(opened, name, server))
    if not files:
        typer.echo(f"no captures of {name} are in the store")
        return
    rows = [("SERVER", "STORED", "SIZE", *(reason.value.upper() for reason in CaptureReason))]
    for one in files:
        counts = [str(one.file.counts.get(reason, 0)) for reason in CaptureReason]
        stored = one.modified.strftime("%Y-%m-%d %H:%M")
        rows.append((one.server, stored, f"{one.size / 1e6:.1f} MB", *counts))
    for line in aligned(rows):
        typer.echo(line)
    typer.echo(f"{sum(one.file.total for one in files)} images")


@app.command()
def show(
    name: Name,
    out: Annotated[Path, typer.Option(help="Contact sheet to write, such as sheet.png.")],
    server: Server = None,
    reason: Reasons = None,
    limit: Limit = 48,
    store: StoreUrl = None,
    endpoint: Endpoint = None,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Draw the newest captures with their boxes on one contact sheet."""
    from modelyard.cli.capturesheet import sheet
    from modelyard.cli.draw import save

    with _opened(store, endpoint, namespace, kubeconfig, context) as opened:
        found = list(_newest(opened, name, server, reason, limit))
    if not found:
        raise CliError(f"no captures of {name} are in the store")
    save(sheet(found), out)
    typer.echo(f"{out}: {len(found)} images")


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="Folder to write, new or empty.")],
    server: Server = None,
    reason: Reasons = None,
    limit: Limit = 10_000,
    store: StoreUrl = None,
    endpoint: Endpoint = None,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Write captures into a folder: images, the version's boxes as YOLO labels, and records.

    The labels are what the version answered, a start for labelling and no truth.
    """
    from modelyard.cli.capturesheet import write_export

    if out.exists() and any(out.iterdir()):
        raise CliError(f"{out} is not empty: name a new folder")
    with _opened(store, endpoint, namespace, kubeconfig, context) as opened:
        count, training = write_export(out, _newest(opened, name, server, reason, limit))
    typer.echo(f"{out}: {count} images, of which {training} are fit for training")


def capture(
    name: Name,
    count: Annotated[
        int, typer.Option(min=1, max=9999, help="Images of all servers together.")
    ] = 10,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Ask a Deployment's servers to capture their next images and store them at once."""
    from modelyard.cli.kube import connect

    cluster = connect(kubeconfig, context)
    space = namespace or cluster.namespace
    obj = cluster.get("Deployment", space, name)
    monitoring = (obj.get("spec") or {}).get("monitoring") or {}
    if not monitoring.get("capture"):
        raise CliError(
            f"Modelyard Deployment {name} captures nothing: set spec.monitoring.capture, which "
            "also says what is made unrecognisable"
        )
    identifier = secrets.token_hex(4)
    cluster.annotate("Deployment", space, name, {ON_DEMAND_ANNOTATION: f"{count}/{identifier}"})
    typer.echo(
        f"{count} images are asked for (request {identifier}); they appear in "
        f"`modelyard captures list {name}`"
    )


class _Stored:
    """One file in the store."""

    def __init__(
        self, key: str, server: str, file: CaptureFile, size: int, modified: datetime
    ) -> None:
        self.key, self.server, self.file = key, server, file
        self.size, self.modified = size, modified

    def __lt__(self, other: _Stored) -> bool:
        return (self.server, self.modified, self.key) < (other.server, other.modified, other.key)


def _files(store: Store, deployment: str, server: str | None) -> Iterator[_Stored]:
    prefix = f"{CAPTURES}{deployment}/" + (f"{server}/" if server else "")
    for entry in store.keys.entries(prefix):
        *_, name_of_server, name = entry.key.split("/")
        file = CaptureFile.parse(name)
        if file is not None:
            yield _Stored(entry.key, name_of_server, file, entry.size, entry.modified)


def _newest(
    store: Store,
    deployment: str,
    server: str | None,
    reasons: list[CaptureReason] | None,
    limit: int,
) -> Iterator[Captured]:
    """Captures, those that were stored last first."""
    files = list(_files(store, deployment, server))
    for one in sorted(files, key=lambda file: file.modified, reverse=True):
        if reasons and not set(reasons) & set(one.file.counts):
            continue
        data = b"".join(bytes(piece) for piece in store.keys.pieces(one.key))
        try:
            for found in unpack(data):
                if reasons and found.record.reason not in reasons:
                    continue
                yield found
                limit -= 1
                if not limit:
                    return
        except ValueError as error:
            typer.echo(f"{one.key} is left out: {error}", err=True)


@contextmanager
def _opened(
    url: str | None,
    endpoint: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
) -> Iterator[Store]:
    from modelyard.cli import storeaccess
    from modelyard.cli.kube import connect
    from modelyard.contract.run import StoreLocation
    from modelyard.store import StoreError, StoreUnavailable

    if endpoint and not url:
        raise CliError("--endpoint belongs to --store", 2)
    try:
        if url:
            with storeaccess.open_store_at(StoreLocation(url=url, endpoint=endpoint)) as store:
                yield store
            return
        cluster = connect(kubeconfig, context)
        with storeaccess.open_cluster_store(cluster, namespace or cluster.namespace) as store:
            yield store
    except StoreUnavailable as error:
        raise CliError(str(error), UNREACHABLE) from error
    except StoreError as error:
        raise CliError(str(error)) from error
